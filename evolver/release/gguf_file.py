"""A whole model as one GGUF file, as llama.cpp and programs that are built on it read it.

Tensors keep their bits: what the model holds in bfloat16 is bfloat16 in the file; vectors become fp32, which llama.cpp
asks for. Nothing is written of an architecture or a tokenizer that llama.cpp would treat otherwise.
"""

import importlib.util
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.models import files
from agent.models.profile import ModelProfile
from evolver.release import gguf_vocabulary
from evolver.release.gguf_shape import Array, Shape
from toolkit.errors import PrerequisiteError, UserError

_TYPES = {"BF16": np.dtype("<u2"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_PERMUTED = ("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")


def check(model: Path) -> None:
    """Raise UserError where ``model`` cannot be written as GGUF, PrerequisiteError where the package is missing."""
    if importlib.util.find_spec("gguf") is None:
        raise PrerequisiteError("this needs the package gguf; install it: pip install 'apprentice-agent[gguf]'")
    Shape.of(_config(model))
    gguf_vocabulary.check(model)


def write(model: Path, profile: ModelProfile, name: str, target: Path) -> None:
    """Write the transformers model in the folder ``model`` to the file ``target``, with its vocabulary and the template
    of ``profile``. Raises as ``check``, and OSError."""
    import gguf

    check(model)
    shape = Shape.of(_config(model))
    tensors = list(_tensors(model))
    names = gguf.get_tensor_name_map(_architecture(shape.architecture), shape.layers)
    writer = gguf.GGUFWriter(target, shape.architecture)
    try:
        shape.add_to(writer, name, {tensor.form for tensor in tensors})
        gguf_vocabulary.add(writer, model, profile, _rows(tensors))
        placed = [(_placed(names, tensor.name), tensor) for tensor in tensors]
        for written, tensor in placed:
            data, raw = _in_form(tensor, shape)
            writer.add_tensor_info(written, data.shape, data.dtype, data.nbytes, raw)
        factors = shape.rope_factors()
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor in placed:
            writer.write_tensor_data(_in_form(tensor, shape)[0])
        if factors is not None:
            writer.write_tensor_data(factors)
    finally:
        writer.close()


@dataclass(frozen=True)
class _Tensor:
    """A tensor of a safetensors file; ``form`` as safetensors names it, bfloat16 as its bits."""

    name: str
    form: str
    data: Array


def _config(model: Path) -> dict[str, Any]:
    return files.read_json(model / "config.json")


def _tensors(model: Path) -> Iterator[_Tensor]:
    """Yield all tensors, mapped from their files. Layout: huggingface.co/docs/safetensors."""
    for file in sorted(model.glob("*.safetensors")):
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length))
        for name, entry in sorted(header.items()):
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _TYPES:
                raise UserError(f"{name} is {entry['dtype']}; GGUF can be written from BF16, F16 and F32")
            start = 8 + length + entry["data_offsets"][0]
            form = _TYPES[entry["dtype"]]
            yield _Tensor(name, entry["dtype"], np.memmap(file, form, "r", offset=start, shape=tuple(entry["shape"])))


def _in_form(tensor: _Tensor, shape: Shape) -> tuple[Array, Any]:
    """Return a tensor as GGUF has it, and GGUF's type of it; None: that of the array."""
    import gguf

    data: Array = tensor.data
    if shape.architecture == "llama" and tensor.name.endswith(_PERMUTED):
        heads = shape.heads if "q_proj" in tensor.name else shape.kv_heads
        # llama.cpp turns neighbours, transformers the two halves of a head.
        data = data.reshape(heads, 2, len(data) // heads // 2, *data.shape[1:]).swapaxes(1, 2).reshape(data.shape)
    if data.ndim == 1:
        data = (data.astype("<u4") << 16).view("<f4") if tensor.form == "BF16" else data.astype("<f4")
        # Gemma's norms scale by one more than their weights, llama.cpp's by what is written.
        return (data + np.float32(1) if shape.architecture == "gemma3" else data), None
    return data, gguf.GGMLQuantizationType.BF16 if tensor.form == "BF16" else None


def _placed(names: Any, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise UserError(f"GGUF has no place for the tensor {name}; export it as merged")
    return found


def _rows(tensors: list[_Tensor]) -> int:
    return next(len(tensor.data) for tensor in tensors if tensor.name.endswith("embed_tokens.weight"))


def _architecture(name: str) -> Any:
    import gguf

    return next(number for number, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
