"""llama.cpp's tokenizer of pieces with scores (SPM), from a tokenizer.json of merges with byte fallback, as Gemma's.

Of two neighbours, tokenizers merges the pair of the lowest rank, llama.cpp the pair that joins to the piece of the
highest score; both prefer the leftmost. What happens between two places that no merge has crossed yet does not depend
on the text around them, so the two parts that a piece is made of at last are always the same. Hence both cut every text
alike where the merges of each piece follow each other, and each pair that joins to a piece is a merge. Other
tokenizers are refused.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from toolkit.errors import UserError

BLANK = "▁"
"""Sign for a blank in a piece."""

BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
"""Pieces of one byte, for letters that no other piece has."""

_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}
_PLAIN = {"dropout": 0, "continuing_subword_prefix": "", "end_of_word_suffix": "", "ignore_merges": False}


def check(tokenizer: dict[str, Any]) -> None:
    """Raise UserError where llama.cpp would cut texts otherwise than ``tokenizer``, the content of a tokenizer.json."""
    model = tokenizer["model"]
    cut = tokenizer.get("pre_tokenizer") or {}
    odd = {
        "its merges have options": any((model.get(name) or plain) != plain for name, plain in _PLAIN.items()),
        "it changes more in a text than blanks": tokenizer.get("normalizer") != _NORMALIZER,
        # It looks for blanks, of which the normalizer left none.
        "it cuts words": bool(cut) and (cut.get("type"), cut.get("pattern")) != ("Split", {"String": " "}),
        "it has no piece for some bytes": not model["vocab"].keys() >= BYTES,
        "it looks for some added tokens with conditions": any(map(_is_picky, tokenizer["added_tokens"])),
    }
    told = next((why for why, is_so in odd.items() if is_so), None) or _of_added(tokenizer) or _of_merges(tokenizer)
    if told:
        raise UserError(
            f"the tokenizer merges pieces otherwise than llama.cpp does ({told}), so it cannot be written as GGUF; "
            "export the model as merged"
        )


def scores(tokenizer: dict[str, Any]) -> dict[str, float]:
    """Return the score of each piece that a merge makes: minus the rank of the first such merge."""
    found: dict[str, float] = {}
    for rank, (left, right) in enumerate(_merges(tokenizer)):
        found.setdefault(left + right, -float(rank))
    return found


def joinable(tokenizer: dict[str, Any], texts: Iterable[str]) -> str | None:
    """Return one of ``texts`` to which llama.cpp would join two neighbours that ``tokenizer`` leaves apart."""
    known, merges = tokenizer["model"]["vocab"].keys(), set(_merges(tokenizer))
    for text in texts:
        for place in range(1, len(text)):
            left, right = text[:place], text[place:]
            parts = (left in known or place == 1) and (right in known or place == len(text) - 1)
            if parts and (left, right) not in merges:
                return text
    return None


def _merges(tokenizer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for merge in tokenizer["model"]["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right


def _of_merges(tokenizer: dict[str, Any]) -> str | None:
    """Return the reason why scores cannot stand for the merges; None where they can."""
    whole = {token["content"] for token in tokenizer["added_tokens"] if BLANK not in token["content"]}
    seen: set[str] = set()
    last = None
    for left, right in _merges(tokenizer):
        piece = left + right
        if left in BYTES or right in BYTES:
            return f"it merges bytes to {piece}"
        if piece in whole:  # Found before anything is merged.
            continue
        if piece != last and piece in seen:
            return f"the merges of {piece!r} do not follow each other"
        seen.add(piece)
        last = piece
    text = joinable(tokenizer, (text for text in tokenizer["model"]["vocab"] if text not in whole))
    return None if text is None else f"two parts of {text!r} are no merge"


def _is_picky(token: dict[str, Any]) -> bool:
    return any(token.get(name) for name in ("single_word", "lstrip", "rstrip", "normalized"))


def _of_added(tokenizer: dict[str, Any]) -> str | None:
    """Return the reason why llama.cpp, which looks for the longest of the added tokens first, may find others.

    None where it finds the same ones: those that begin first, and of these the longest."""
    texts = {token["content"].encode() for token in tokenizer["added_tokens"]}
    beginnings: dict[bytes, list[bytes]] = {}
    for text in texts:
        for length in range(1, len(text)):
            beginnings.setdefault(text[:length], []).append(text)
    for first in texts:
        for start in range(1, len(first)):
            for second in beginnings.get(first[start:], ()):
                joined = first[:start] + second
                longer = any(joined[:end] in texts for end in range(len(first) + 1, len(joined) + 1))
                if second != first and len(second) >= len(first) and not longer:
                    return f"the added tokens {first.decode()!r} and {second.decode()!r} may overlap"
    return None
