"""A whole model as one GGUF file, as llama.cpp and programs that are built on it read it.

Tensors keep their bits: what the model holds in bfloat16 is bfloat16 in the file; vectors become fp32, which llama.cpp
asks for. Of an architecture or a tokenizer that is not in the tables here nothing is written: it would answer wrongly.
"""

import importlib.util
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from agent.models import files
from agent.models.profile import ModelProfile
from toolkit.errors import PrerequisiteError, UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = np.ndarray[Any, Any]

ARCHITECTURES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen3ForCausalLM": "qwen3"}
"""transformers' names, and llama.cpp's."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    ("bytes",): "gpt-2",
    ("digits", "bytes"): "smollm",
    (_WORDS + r"\p{N}{1,3}" + _REST, "plain bytes"): "llama-bpe",
    (_WORDS + r"\p{N}" + _REST, "plain bytes"): "qwen2",
}
"""Ways in which a tokenizer cuts a text before it merges bytes, with llama.cpp's names."""

_TYPES = {"BF16": np.dtype("<u2"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_PERMUTED = ("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


def check(model: Path) -> None:
    """Raise UserError where ``model`` cannot be written as GGUF, PrerequisiteError where the package is missing."""
    if importlib.util.find_spec("gguf") is None:
        raise PrerequisiteError("this needs the package gguf; install it: pip install 'apprentice-agent[gguf]'")
    config = _config(model)
    _Shape.of(config)
    _split(files.read_json(model / "tokenizer.json"))


def write(model: Path, profile: ModelProfile, name: str, target: Path) -> None:
    """Write the transformers model in the folder ``model`` to the file ``target``, with its vocabulary and the template
    of ``profile``. Raises as ``check``, and OSError."""
    import gguf

    check(model)
    shape = _Shape.of(_config(model))
    tensors = list(_tensors(model))
    names = gguf.get_tensor_name_map(_architecture(shape.architecture), shape.layers)
    writer = gguf.GGUFWriter(target, shape.architecture)
    try:
        _add_shape(writer, shape, name, {tensor.form for tensor in tensors})
        _add_vocabulary(writer, model, profile, _rows(tensors))
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
class _Shape:
    """Shape of a model as GGUF states it. ``rope``: transformers' ``rope_parameters``."""

    architecture: str
    layers: int
    context: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    epsilon: float
    rope: dict[str, Any]

    @classmethod
    def of(cls, config: dict[str, Any]) -> "_Shape":
        """Read the model's config.json. Raises UserError where llama.cpp has no such model."""
        named = (config.get("architectures") or ["unknown"])[0]
        if named not in ARCHITECTURES:
            raise UserError(f"{named} cannot be written as GGUF; supported are {', '.join(ARCHITECTURES)}")
        theta = {"rope_theta": config.get("rope_theta", 10000.0)}
        rope = {**theta, **(config.get("rope_parameters") or config.get("rope_scaling") or {})}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "llama3"):
            raise UserError(f"rotary embeddings of the kind {kind} cannot be written as GGUF; export it as merged")
        if config.get("sliding_window") and config.get("use_sliding_window", True):
            raise UserError("a model with a sliding window cannot be written as GGUF; export it as merged")
        heads = config["num_attention_heads"]
        return cls(
            architecture=ARCHITECTURES[named],
            layers=config["num_hidden_layers"],
            context=config["max_position_embeddings"],
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or config["hidden_size"] // heads,
            epsilon=config["rms_norm_eps"],
            rope={**rope, "rope_type": kind},
        )

    def rope_factors(self) -> Array | None:
        """Return by what llama.cpp divides each frequency (head / 2,); None where it is 1 everywhere."""
        if self.rope["rope_type"] == "default":
            return None
        factor, low, high = (self.rope[f"{name}factor"] for name in ("", "low_freq_", "high_freq_"))
        old = self.rope["original_max_position_embeddings"]
        waves = 2 * math.pi * self.rope["rope_theta"] ** (np.arange(0, self.head, 2) / self.head)
        smooth = np.clip((old / waves - low) / (high - low), 0, 1)
        return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


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
                raise UserError(f"{name} is {entry['dtype']}; GGUF is written of BF16, F16 and F32")
            start = 8 + length + entry["data_offsets"][0]
            form = _TYPES[entry["dtype"]]
            yield _Tensor(name, entry["dtype"], np.memmap(file, form, "r", offset=start, shape=tuple(entry["shape"])))


def _in_form(tensor: _Tensor, shape: _Shape) -> tuple[Array, Any]:
    """Return a tensor as GGUF has it, and GGUF's type of it; None: that of the array."""
    import gguf

    data: Array = tensor.data
    if shape.architecture == "llama" and tensor.name.endswith(_PERMUTED):
        heads = shape.heads if "q_proj" in tensor.name else shape.kv_heads
        # llama.cpp turns neighbours, transformers the two halves of a head.
        data = data.reshape(heads, 2, len(data) // heads // 2, *data.shape[1:]).swapaxes(1, 2).reshape(data.shape)
    if data.ndim == 1:
        data = (data.astype("<u4") << 16).view("<f4") if tensor.form == "BF16" else data.astype("<f4")
        return data, None
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


def _add_shape(writer: "GGUFWriter", shape: _Shape, name: str, forms: set[str]) -> None:
    import gguf

    kinds = {"BF16": gguf.LlamaFileType.MOSTLY_BF16, "F16": gguf.LlamaFileType.MOSTLY_F16}
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(next((kinds[form] for form in kinds if form in forms), gguf.LlamaFileType.ALL_F32))
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope["rope_theta"])
    writer.add_layer_norm_rms_eps(shape.epsilon)


def _add_vocabulary(writer: "GGUFWriter", model: Path, profile: ModelProfile, rows: int) -> None:
    """Add tokens, merges, special tokens and the template; rows of the model without a token are named as unused."""
    import gguf

    content = files.read_json(model / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts = {number: text for text, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    added = {token["id"]: _CONTROL if token["special"] else _USER_DEFINED for token in content["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split(content))
    writer.add_vocab_size(rows)
    writer.add_token_list([texts.get(number, f"[PAD{number}]") for number in range(rows)])
    writer.add_token_types([added.get(number, _NORMAL) if number in texts else _UNUSED for number in range(rows)])
    special = gguf.SpecialVocab(model, load_merges=True, n_vocab=rows)
    special.chat_template = profile.template
    special.add_special_token = {"bos": profile.adds_bos}
    if (end := tokenizer.token_to_id(profile.end_of_turn)) is not None:
        special.special_token_ids["eot"] = end
    special.add_to_gguf(writer, quiet=True)


def _split(tokenizer: dict[str, Any]) -> str:
    """Return llama.cpp's name for how the tokenizer cuts texts. Raises UserError where it has none."""
    kind = (tokenizer.get("model") or {}).get("type")
    cut = tokenizer.get("pre_tokenizer") or {}
    steps = tuple(_step(step) for step in cut.get("pretokenizers", [cut]))
    normal = (tokenizer.get("normalizer") or {"type": "NFC"}).get("type")
    if kind != "BPE" or steps not in _SPLITS or normal != "NFC":
        raise UserError(
            f"the tokenizer ({kind}) cuts texts otherwise than those of GPT-2, SmolLM2, Llama 3 and Qwen, so it cannot "
            "be written as GGUF; export the model as merged"
        )
    return _SPLITS[steps]


def _step(step: dict[str, Any]) -> str:
    match step.get("type"):
        case "ByteLevel" if not step.get("add_prefix_space"):
            return "bytes" if step.get("use_regex", True) else "plain bytes"
        case "Digits" if step.get("individual_digits"):
            return "digits"
        case "Split" if step.get("behavior") == "Isolated" and not step.get("invert"):
            return str((step.get("pattern") or {}).get("Regex"))
        case other:
            return f"unknown: {other}"
