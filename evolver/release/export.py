"""An adapter taken elsewhere: its weights, or the model with the weights merged in, and how it must be spoken to."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from agent.adapters import package
from agent.adapters.manifest import Manifest
from agent.config import VllmConfig
from agent.models import default_model, vllm_arguments
from agent.models.detect import profile_of
from agent.models.profile import ModelProfile
from evolver.config import Config
from evolver.release import gguf_file
from toolkit import durable_file
from toolkit.errors import UserError

Format = Literal["peft", "merged", "gguf"]

_TEMPLATE = "chat_template.jinja"


def export(config: Config, name: str, form: Format, target: Path) -> Path:
    """Write the adapter ``name`` to the new folder ``target`` and return it.

    ``peft``: the adapter, for the same base model. ``merged``: a whole transformers model. ``gguf``: the same as one
    file for llama.cpp. Beside them lie the chat template, the profile, the call bias, the manifest, a README with the
    command that serves them, and the files that this command names. Raises UserError and AdapterError; then ``target``
    is absent.
    """
    with durable_file.writing_to(target):
        if target.exists():
            raise UserError(f"{target} exists; name a new folder with --to")
    serving = config.agent.serving
    model = default_model.present(serving.model, config.data_folder)
    if model is None:
        raise UserError(f"the model {serving.model} is not on this machine; prepare it with: agent serve")
    folder = package.folder_of(config.data_folder, name)
    if not folder.is_dir():
        raise UserError(f"there is no adapter {name}; see: evolver adapters")
    manifest = package.check_adapter(folder, base_sha256=package.model_sha256(model))
    profile = profile_of(model, serving.profile)
    if form == "gguf":
        gguf_file.check(model)
    with durable_file.writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        _write_weights(model, folder, manifest, profile, form, draft)
        command = _command(manifest.name, profile, form, draft, serving.vllm_process)
        _write_beside(draft, manifest, profile, form, command)
        draft.chmod(0o755)
        durable_file.publish_folder(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _write_weights(
    model: Path, adapter: Path, manifest: Manifest, profile: ModelProfile, form: Format, draft: Path
) -> None:
    if form == "merged":
        _merge(model, adapter, draft)
    elif form == "gguf":
        _as_gguf(model, adapter, draft, profile)
    else:
        for file in manifest.files:
            shutil.copyfile(adapter / file, draft / file)


def _write_beside(draft: Path, manifest: Manifest, profile: ModelProfile, form: Format, command: str) -> None:
    files = {
        "manifest.json": manifest.model_dump_json(indent=2),
        "profile.json": profile.model_dump_json(indent=2),
        _TEMPLATE: profile.template,
        "call_bias.json": json.dumps({"logit_bias": manifest.logit_bias or {}}),
        "README.md": _read_me(manifest, form, command),
    }
    for name, text in files.items():
        (draft / name).write_text(text, encoding="utf-8")


def _as_gguf(model: Path, adapter: Path, draft: Path, profile: ModelProfile) -> None:
    with tempfile.TemporaryDirectory(dir=draft.parent, prefix=f".{draft.name}.merged.") as merged:
        _merge(model, adapter, Path(merged))
        with durable_file.writing_to(draft):
            gguf_file.write(Path(merged), profile, adapter.name, draft / f"{adapter.name}.gguf")


def _merge(model: Path, adapter: Path, draft: Path) -> None:
    """Let a process of its own write the merged model to ``draft``. Raises UserError where it fails."""
    command = [sys.executable, "-m", "evolver.training.merge", str(model), str(adapter), str(draft)]
    done = subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"{adapter.name} could not be merged: {last}; to see all of it run: {' '.join(command)}")


def _read_me(manifest: Manifest, form: Format, command: str) -> str:
    what = {"peft": "to be served with it", "merged": "a whole model", "gguf": "a whole model, the template in it"}[
        form
    ]
    return f"""\
# {manifest.name}

A LoRA adapter of apprentice for {manifest.base_model} ({what}).

- `chat_template.jinja`: the template that it learned with; no other one fits.
- `profile.json`: how calls begin, what ends an answer, the BOS token, vLLM's parser.
- `call_bias.json`: send `logit_bias` with every request that has tools and leaves the choice to the model.

In this folder:

    {command}
"""


def _command(name: str, profile: ModelProfile, form: Format, draft: Path, serving: VllmConfig) -> str:
    """Return the command that serves the folder from within; write the files that it names to ``draft``."""
    if form == "gguf":
        options = profile.template_options
        given = f" --chat-template-kwargs {shlex.quote(json.dumps(options))}" if options else ""
        return f"llama-server --model {name}.gguf --jinja{given}"
    parts = ["vllm serve ."]
    if form == "peft":
        rank = json.loads((draft / package.PEFT_CONFIG).read_text(encoding="utf-8"))["r"]
        parts = ["vllm serve BASE_MODEL", f"--enable-lora --lora-modules {name}=. --max-lora-rank {rank}"]
    arguments = _arguments(profile, draft, serving)
    parts += ["--enable-auto-tool-choice", *(f"{option} {shlex.quote(value)}" for option, value in arguments.items())]
    return " \\\n      ".join(parts)


def _arguments(profile: ModelProfile, draft: Path, serving: VllmConfig) -> dict[str, str]:
    """Return the arguments that ``agent serve`` gives to vLLM for ``profile``, with paths inside of ``draft``."""
    found = vllm_arguments.of_profile(profile, draft)
    found["--chat-template"] = _TEMPLATE
    if "--generation-config" in found:
        found["--generation-config"] = "."
    if file := vllm_arguments.plugin(profile):
        found["--tool-parser-plugin"] = shutil.copyfile(file, draft / Path(file).name).name
    return {**found, "--tool-strict-level": "parameter" if serving.constrain_calls else "auto"}
