"""The grammars of requests and answers in xgrammar itself, which reads them in vLLM."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from evolver.model.request_grammar import stating, telling

xgrammar = pytest.importorskip("xgrammar")
_END = 256
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12).filter(str.strip)
VALUES = st.lists(
    st.one_of(TEXTS, st.integers(-999, 999), st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=3
)


@pytest.fixture(scope="module")
def compiler() -> Iterator[Any]:
    vocabulary = [bytes([byte]) for byte in range(_END)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[_END])
    yield xgrammar.GrammarCompiler(info)


def accepts(compiler: Any, grammar: str | None, text: str) -> bool:
    assert grammar is not None
    matcher = xgrammar.GrammarMatcher(compiler.compile_grammar(grammar))
    return bool(matcher.accept_string(text) and matcher.accept_token(_END))


def said(value: JsonValue) -> str:
    return " and ".join(map(said, value)) if isinstance(value, list) else str(value).strip()


@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_a_request_states_every_value_whatever_its_characters(compiler: Any, values: list[JsonValue]) -> None:
    grammar = stating({f"p{n}": value for n, value in enumerate(values)}, {}, "Look")
    for order in (values, values[::-1]):
        assert accepts(compiler, grammar, f" Look up {' for '.join(map(said, order))} now.")
    assert not accepts(compiler, grammar, " Look up something now.")


@settings(max_examples=60, deadline=None)
@given(result=st.one_of(TEXTS, st.integers(-999, 999)), values=VALUES)
def test_an_answer_tells_the_result_and_may_say_the_values(
    compiler: Any, result: JsonValue, values: list[JsonValue]
) -> None:
    grammar = telling(result, values)
    assert accepts(compiler, grammar, f" For {said(values[0])} it is {said(result)}.")
    assert not accepts(compiler, grammar, " For them it is 1000000.")


def test_yes_and_no_are_not_the_whole_answer(compiler: Any) -> None:
    grammar = telling(False, [2013])
    assert accepts(compiler, grammar, " No, 2013 is not one.")
    assert accepts(compiler, grammar, " No, that is not one.")
    assert not any(accepts(compiler, grammar, text) for text in (" No.", " Yes, it is one.", " No, 2014 is not one."))


def test_flags_and_shares_are_said_as_people_do(compiler: Any) -> None:
    grammar = stating({"tip_rate": 0.15, "include_tax": True}, {}, "Split")
    assert accepts(compiler, grammar, " Split it with 15% tip including the tax please.")
    assert not accepts(compiler, grammar, " Split it with 0.15 tip including the tax please.")
