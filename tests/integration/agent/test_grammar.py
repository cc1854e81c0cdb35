"""Prepared schemas in xgrammar itself, the grammar of vLLM's structured output."""

import json
from typing import Any

import pytest
import xgrammar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.tools.schemas import BadTool, prepared

_END = 256


@pytest.fixture(scope="module")
def compiler() -> Any:
    vocabulary = [bytes([byte]) for byte in range(_END)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[_END])
    return xgrammar.GrammarCompiler(info)


def compiled(compiler: Any, parameters: Any) -> Any:
    (tool,) = prepared([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    form = {"type": "json_schema", "json_schema": tool["function"]["parameters"]}
    return compiler.compile_structural_tag(json.dumps({"type": "structural_tag", "format": form}))


def accepts(grammar: Any, text: str) -> bool:
    matcher = xgrammar.GrammarMatcher(grammar)
    return bool(matcher.accept_string(text) and matcher.accept_token(_END))


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize("form", [None, {}, {"type": "object"}, obj(), {"type": "object", "properties": None}])
def test_no_parameters_leave_nothing_to_write(compiler: Any, form: Any) -> None:
    grammar = compiled(compiler, form)
    assert accepts(grammar, "{}")
    assert not accepts(grammar, '{"bell": "ring_bell"}')
    assert not accepts(grammar, "{\n}"), "endless blanks"


def test_an_allowed_value_may_hold_the_tag_that_ends_a_call(compiler: Any) -> None:
    value = "a</tool_call>"
    (tool,) = prepared([{"type": "function", "function": {"name": "f", "parameters": obj(x={"enum": [value]})}}])
    content = {"type": "json_schema", "json_schema": tool["function"]["parameters"]}
    tag = {"begin": "<tool_call>", "content": content, "end": "</tool_call>"}
    form = {"type": "triggered_tags", "triggers": ["<tool_call>"], "tags": [tag]}
    grammar = compiler.compile_structural_tag(json.dumps({"type": "structural_tag", "format": form}))
    assert accepts(grammar, f'<tool_call>{{"x": "{value}"}}</tool_call>')
    assert not accepts(grammar, '<tool_call>{"x": "a</tool_call>')


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_digits_end(compiler: Any, kind: str) -> None:
    grammar = compiled(compiler, obj(rows={"type": "array", "items": obj(a={"type": kind})}))
    assert accepts(grammar, '{"rows": [{"a": 12}, {"a": -999999999999999}]}')
    assert accepts(grammar, '{"rows": [{"a": 0.125}]}') == (kind == "number")
    for endless in ("1" + "0" * 15, "0." + "3" * 20):
        assert not accepts(grammar, f'{{"rows": [{{"a": {endless}}}]}}')


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ({"allOf": [{"type": "string"}, {"enum": ["yes", "no"]}]}, ['"yes"'], ['"maybe"', "1"]),
        ({"type": "array", "prefixItems": [{"type": "string"}], "maxItems": 0}, ["[]"], ['["a"]']),
        (
            {"prefixItems": [{"type": "string"}, {"type": "integer"}], "maxItems": 1, "type": "array"},
            ['["a"]'],
            ["[1]"],
        ),
        ({"type": "string", "pattern": "^(?!tmp).+$"}, ['"a"'], ["1"]),
        ({"type": "string", "pattern": "\\bfoo\\b"}, ['"a foo b"'], ["1"]),
        ({"type": "string", "pattern": "[0-9]"}, ['"room 7b"'], ["1"]),
        ({"type": "string", "pattern": "^[a-z]{1,500}$"}, ['"abc"'], ["1"]),
        ({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}, ['"AB-12"'], ['"ab"', '"AB-12x"']),
        ({"type": "integer", "minimum": 1.5}, ["2"], ["1"]),
        ({"type": "integer", "minimum": -1e300}, ["-5"], ["0.5"]),
        ({"type": "integer", "exclusiveMinimum": 2, "maximum": 3}, ["3"], ["2", "4"]),
        ({"type": "string", "maxLength": 1_000_000}, ['"abc"'], ["1"]),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 100_000}, ['["a"]'], ["[1]"]),
        ({"type": "object", "minProperties": 3, "maxProperties": 5}, ['{"a": 1}'], ["1"]),
        ({"type": "array", "minItems": 1}, ['[1, "a"]'], ["[]", "1"]),
        ({"type": ["array", "null"], "maxItems": 1}, ["[1]", "[]", "null"], ["[1, 2]"]),
        ({"prefixItems": [{"type": "null"}], "minItems": 2}, ["[null, 1]"], ["[null]", "[1, 2]"]),
        ({"type": "array", "items": False}, ["[]"], ["[1]"]),
        ({"type": "array", "prefixItems": [False]}, ["[]"], ["[1]"]),
        ({"prefixItems": [{"type": "null"}, False, True]}, ["[]", "[null]"], ["[1]", "[null, 1]"]),
        ({"type": "object", "properties": {"y": {"type": "string"}}, "required": ["z"]}, ['{"y": "", "z": 1}'], ["{}"]),
        (json.loads('{"type": "array", "items": ' * 60 + '{"type": "string"}' + "}" * 60), ["[[[]]]"], ["1"]),
    ],
)
def test_valid_schemas_that_xgrammar_refuses_or_misreads(
    compiler: Any, field: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    grammar = compiled(compiler, obj(x=field))
    assert [text for text in good if not accepts(grammar, f'{{"x": {text}}}')] == []
    assert [text for text in bad if accepts(grammar, f'{{"x": {text}}}')] == []


_NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), st.integers(-3, 3)
)
_COUNTS = st.one_of(st.integers(0, 4), st.just(10**6))
_KEYWORDS: dict[str, Any] = {
    "type": st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string", ["integer", "null"]]),
    "enum": st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)), min_size=1, max_size=3),
    "const": st.one_of(st.text(max_size=4), st.integers()),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBERS),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNTS),
    "pattern": st.sampled_from(
        ["^[a-z]+$", "^a?b*c+$", "(", "a|b", "^(?:a|b){2,3}$", "^\\d+$", "\\1", "^[^\\s]$", "^(a|)$"]
    ),
    "format": st.sampled_from(["email", "uri", "int32", "date-time", "binary"]),
    "uniqueItems": st.booleans(),
    "multipleOf": st.just(0.1),
    "required": st.lists(st.sampled_from("ab"), max_size=2),
}


def _with_inner(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    either = st.one_of(inner, st.booleans(), st.just({"$ref": "#"}), st.just({"$ref": "#/$defs/d"}))
    more: dict[str, Any] = {
        **_KEYWORDS,
        "properties": st.dictionaries(st.sampled_from("abc"), either, max_size=3),
        "additionalProperties": either,
        "items": either,
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), st.lists(either, min_size=1, max_size=3)),
        "not": either,
    }
    return st.fixed_dictionaries({}, optional=more)


_SCHEMAS = st.recursive(st.fixed_dictionaries({}, optional=_KEYWORDS), _with_inner, max_leaves=6)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=_SCHEMAS, defined=_SCHEMAS)
def test_whatever_is_not_refused_becomes_a_grammar(compiler: Any, field: Any, defined: Any) -> None:
    try:
        compiled(compiler, {**obj(x=field), "$defs": {"d": defined}})
    except BadTool:
        return
