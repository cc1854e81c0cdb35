"""Merges as scores. That llama.cpp itself cuts texts alike is in tests/integration."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from evolver.release import gguf_pieces
from tests.fakes.pieces import pieces_content
from toolkit.errors import UserError

CONTENT = pieces_content()


def changed(**model: Any) -> dict[str, Any]:
    return {**CONTENT, "model": {**CONTENT["model"], **model}}


def best_first(text: str, scores: dict[str, float]) -> list[str]:
    """Cut ``text`` as llama.cpp does: join the two neighbours that make the best piece, the leftmost of equal ones."""
    parts = list(text)
    while True:
        made = (left + right for left, right in pairwise(parts))
        pairs = [(-scores[piece], at) for at, piece in enumerate(made) if piece in scores]
        if not pairs:
            return parts
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@st.composite
def tokenizers(draw: st.DrawFn) -> dict[str, Any]:
    """Pieces of two letters, each joined of two earlier ones; their merges in an order that is not always a score's."""
    pieces = ["a", "b"]
    for _ in range(draw(st.integers(1, 10))):
        pieces.append(draw(st.sampled_from(pieces)) + draw(st.sampled_from(pieces)))
    texts = list(dict.fromkeys(pieces))
    merges = [
        merge
        for text in draw(st.permutations(texts[2:]))
        for merge in draw(st.permutations([(text[:at], text[at:]) for at in range(1, len(text))]))
        if set(merge) <= set(texts)
    ]
    if draw(st.booleans()) and merges:
        merges.insert(draw(st.integers(0, len(merges) - 1)), merges.pop(draw(st.integers(0, len(merges) - 1))))
    vocab = {
        text: number for number, text in enumerate([*CONTENT["model"]["vocab"].keys() & gguf_pieces.BYTES, *texts])
    }
    return {**changed(vocab=vocab, merges=merges, unk_token=None), "added_tokens": [], "post_processor": None}


@settings(deadline=None, max_examples=60)
@given(tokenizers(), st.lists(st.text("ab", max_size=24), min_size=1, max_size=8))
def test_texts_are_cut_alike_by_ranks_and_by_scores(tokenizer: dict[str, Any], texts: list[str]) -> None:
    try:
        gguf_pieces.check(tokenizer)
    except UserError:
        assume(False)
    scores = gguf_pieces.scores(tokenizer)
    ranked = Tokenizer.from_str(json.dumps(tokenizer))
    for text in texts:
        assert ranked.encode(text).tokens == best_first(text, scores)


def test_a_score_is_the_rank_of_the_first_merge() -> None:
    merges = [["a", "b"], ["ab", "a"], ["a", "ba"], ["b", "a"]]
    assert gguf_pieces.scores(changed(merges=merges)) == {"ab": 0.0, "aba": -1.0, "ba": -3.0}


def test_merges_of_older_files_are_one_text() -> None:
    merges = [" ".join(merge) for merge in CONTENT["model"]["merges"]]
    assert gguf_pieces.scores(changed(merges=merges)) == gguf_pieces.scores(CONTENT)
    gguf_pieces.check(changed(merges=merges))


def test_a_piece_that_two_unmerged_parts_join_to_is_found() -> None:
    assert gguf_pieces.joinable(CONTENT, ["theday", "xyz"]) is None
    assert gguf_pieces.joinable(CONTENT, ["no", "▁the▁days"]) == "▁the▁days"
    assert gguf_pieces.joinable(CONTENT, ["ß\n"]) == "ß\n", "a letter without a piece is a part, too"


def without_a_merge() -> dict[str, Any]:
    merges = CONTENT["model"]["merges"]
    return changed(merges=[merge for merge in merges if merge != merges[-1]])


def with_mixed_merges() -> dict[str, Any]:
    merges = CONTENT["model"]["merges"]
    at = next(
        at for at, (one, two) in enumerate(pairwise(merges)) if "".join(one) == "".join(two) and "\n" not in one[0]
    )
    return changed(merges=[*merges[:at], *merges[at + 1 :], merges[at]])


def with_added(*tokens: dict[str, Any]) -> dict[str, Any]:
    made = [{"id": number, "special": False, "normalized": False, **token} for number, token in enumerate(tokens, 900)]
    return {**CONTENT, "added_tokens": [*CONTENT["added_tokens"], *made]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (without_a_merge(), "two parts of '.*' are no merge"),
        (with_mixed_merges(), "the merges of '.*' do not follow each other"),
        (changed(merges=[["<0xC3>", "<0x9F>"]]), "it merges bytes to <0xC3><0x9F>"),
        (changed(dropout=0.1), "its merges have options"),
        (changed(ignore_merges=True), "its merges have options"),
        (changed(vocab={"a": 0}), "it has no piece for some bytes"),
        ({**CONTENT, "normalizer": {"type": "Prepend", "prepend": "▁"}}, "it changes more in a text than blanks"),
        ({**CONTENT, "normalizer": None}, "it changes more in a text than blanks"),
        ({**CONTENT, "pre_tokenizer": {"type": "Whitespace"}}, "it cuts words"),
        (with_added({"content": "[X]", "lstrip": True}), "some added tokens with conditions"),
        (with_added({"content": "ab"}, {"content": "bcd"}), "the added tokens 'ab' and 'bcd' may overlap"),
        (with_added({"content": "[X]", "normalized": True}), "some added tokens with conditions"),
    ],
)  # fmt: skip
def test_what_scores_cannot_say_is_refused(content: dict[str, Any], told: str) -> None:
    gguf_pieces.check(CONTENT)
    with pytest.raises(UserError, match=told + r"\), so it cannot be written as GGUF; export the model as merged"):
        gguf_pieces.check(content)
