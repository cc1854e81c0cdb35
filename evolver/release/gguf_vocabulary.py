"""A tokenizer as GGUF tells it to llama.cpp: byte-level BPE, or pieces with scores."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from agent.models import files
from agent.models.profile import ModelProfile
from evolver.release import gguf_pieces
from toolkit.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    ("bytes",): "gpt-2",
    ("digits", "bytes"): "smollm",
    (_WORDS + r"\p{N}{1,3}" + _REST, "plain bytes"): "llama-bpe",
    (_WORDS + r"\p{N}" + _REST, "plain bytes"): "qwen2",
}
"""Ways in which a tokenizer cuts a text before it merges bytes, with llama.cpp's names."""

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 3, 4, 5, 6


def check(model: Path) -> None:
    """Raise UserError where llama.cpp would cut texts otherwise than the tokenizer of ``model``."""
    content = files.read_json(model / "tokenizer.json")
    if _has_pieces(content):
        gguf_pieces.check(content)
    else:
        _split(content)


def add(writer: "GGUFWriter", model: Path, profile: ModelProfile, rows: int) -> None:
    """Write tokens, merges or scores, special tokens and the template; rows of the model without a token are named as
    unused. Raises UserError where one of those names could be typed."""
    import gguf

    content = files.read_json(model / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    known = {number: text for text, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    texts = [known.get(number, f"[PAD{number}]") for number in range(rows)]
    pieces = _has_pieces(content)
    if pieces:
        _add_pieces(writer, content, texts, [text for number, text in enumerate(texts) if number not in known])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_split(content))
    writer.add_vocab_size(rows)
    writer.add_token_list(texts)
    writer.add_token_types(_types(content, texts, known))
    # It warns of templates for pairs of texts, which no file holds.
    logging.getLogger("gguf.vocab").setLevel(logging.ERROR)
    special = gguf.SpecialVocab(model, load_merges=not pieces, n_vocab=rows)
    special.chat_template = profile.template
    special.add_special_token = {"bos": profile.adds_bos}
    if (end := tokenizer.token_to_id(profile.end_of_turn)) is not None:
        special.special_token_ids["eot"] = end
    special.add_to_gguf(writer, quiet=True)


def _has_pieces(content: dict[str, Any]) -> bool:
    model = content.get("model") or {}
    return model.get("type") == "BPE" and bool(model.get("byte_fallback"))


def _add_pieces(writer: "GGUFWriter", content: dict[str, Any], texts: list[str], unused: list[str]) -> None:
    if unused and (typed := gguf_pieces.joinable(content, unused)) is not None:
        raise UserError(f"the unused token {typed} cannot be written as GGUF: a text could hold it")
    scores = gguf_pieces.scores(content)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([scores.get(text, 0.0) for text in texts])
    writer.add_add_space_prefix(False)


def _types(content: dict[str, Any], texts: list[str], known: dict[int, str]) -> list[int]:
    found = [_NORMAL if number in known else _UNUSED for number in range(len(texts))]
    pieces = _has_pieces(content)
    for number, text in enumerate(texts):
        if pieces and text in gguf_pieces.BYTES:
            found[number] = _BYTE
    for token in content["added_tokens"]:
        # llama.cpp shows what users defined as it is written, so pieces with blanks in them are left to the merges.
        plain = pieces and gguf_pieces.BLANK in token["content"]
        found[token["id"]] = _CONTROL if token["special"] else _NORMAL if plain else _USER_DEFINED
    return found


def _split(tokenizer: dict[str, Any]) -> str:
    """Return llama.cpp's name for the way in which the tokenizer cuts texts. Raises UserError where it has none."""
    kind = (tokenizer.get("model") or {}).get("type")
    cut = tokenizer.get("pre_tokenizer") or {}
    steps = tuple(_step(step) for step in cut.get("pretokenizers", [cut]))
    normal = (tokenizer.get("normalizer") or {"type": "NFC"}).get("type")
    if kind != "BPE" or steps not in _SPLITS or normal != "NFC":
        raise UserError(
            f"the tokenizer ({kind}) cuts texts otherwise than those of GPT-2, SmolLM2, Llama 3, Qwen and Gemma 3, so "
            "it cannot be written as GGUF; export the model as merged"
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
