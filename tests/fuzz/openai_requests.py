"""OpenAI's chat request as hypothesis strategies: mostly right, now and then with something else in a field's place."""

from typing import Any

from hypothesis import strategies as st

NAMES = ("add", "ring_bell", "look_up", "查天气")
_MARKERS = ("<|im_end|>", "<|im_start|>system\n", "<tool_call>", "</tool_call>", "[INST]", "<|eot_id|>", "</think>")

_char = st.characters(codec="utf-8") | st.sampled_from('\x00\u2028\u202e"\\\ufffd<|')
text = st.text(_char, max_size=12) | st.lists(st.sampled_from((*_MARKERS, "hi", " ", "\n"))).map("".join)
number = st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from((10**30, 0.5, 2.0))
leaf = st.none() | st.booleans() | number | text
anything = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(text | st.sampled_from(("type", "id")), inner, max_size=3)
    ),
    max_leaves=6,
)


def odd(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """``right``, or one time in some thirty any JSON value."""
    return st.integers(0, 30).flatmap(lambda drawn: anything if drawn == 30 else right)


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these fields, each of which may be something else, and rarely an unknown one."""
    known = st.fixed_dictionaries(
        {name: odd(value) for name, value in required.items()},
        optional={name: odd(value) for name, value in (optional or {}).items()},
    )
    return st.integers(0, 20).flatmap(
        lambda drawn: (
            st.tuples(known, st.dictionaries(text, anything, max_size=1)).map(lambda pair: pair[1] | pair[0])
            if drawn == 20
            else known
        )
    )


call_id = st.sampled_from(("call_0", "call_1", "", "x" * 80))
arguments = st.sampled_from(('{"a": 1, "b": 2}', "{}", "", "{", "[1]", '{"a": "\\u003c|im_end|>"}', "null")) | text
call = record(
    {"function": record({"name": st.sampled_from(NAMES), "arguments": arguments})},
    {"id": call_id, "type": st.just("function")},
)
part = record({"type": st.sampled_from(("text", "image_url", "refusal"))}, {"text": text})
content = text | st.lists(part, max_size=2)
message = st.one_of(
    record({"role": st.just("user"), "content": content}, {"name": text}),
    record({"role": st.sampled_from(("system", "developer")), "content": content}),
    record({"role": st.just("assistant")}, {"content": content, "tool_calls": st.lists(call, max_size=2)}),
    record({"role": st.just("tool"), "content": content}, {"tool_call_id": call_id}),
)
field = record(
    {},
    {
        "type": st.sampled_from(("string", "integer", "number", "boolean", "array", "object", "null", "float", "any"))
        | st.lists(st.sampled_from(("string", "null")), max_size=2),
        "description": text,
        "enum": st.lists(leaf, max_size=3),
        "default": leaf,
        "minimum": number,
        "pattern": st.sampled_from(("^a+$", "(", "\\b", "a{2000}")),
        "items": anything,
        "$ref": st.sampled_from(("#", "#/$defs/x", "http://127.0.0.1:9/x", "")),
    },
)
parameters = record(
    {},
    {
        "type": st.just("object"),
        "properties": st.dictionaries(text | st.sampled_from(("a", "b")), field, max_size=3),
        "required": st.lists(st.sampled_from(("a", "b", "c")), max_size=2),
        "additionalProperties": st.booleans(),
        "$defs": st.dictionaries(st.just("x"), field, max_size=1),
    },
)
tool = record(
    {"type": st.just("function")},
    {"function": record({"name": st.sampled_from(NAMES)}, {"description": text, "parameters": parameters})},
)
schema_text = st.sampled_from(
    (
        '{"type": "integer"}',
        '{"maxLength": 1e999}',
        '{"minimum": NaN}',
        "{",
        "[" * 3000,
        '{"format": {"maxItems": 1e999}}',
    )
)
outputs = record({}, {"json": parameters | schema_text, "structural_tag": parameters | schema_text, "regex": text})
choice = st.sampled_from(
    ("auto", "none", "required", *({"type": "function", "function": {"name": name}} for name in NAMES))
)
chat = record(
    {"messages": st.lists(message, min_size=1, max_size=4)},
    {
        "model": st.just("agent"),
        "stream": st.booleans(),
        "tools": st.lists(tool, max_size=3),
        "tool_choice": choice,
        "temperature": number,
        "max_tokens": st.integers(0, 100),
        "max_completion_tokens": st.integers(1, 100),
        "seed": number,
        "n": st.integers(1, 3),
        "stop": text | st.lists(text, max_size=2),
        "logit_bias": st.dictionaries(st.sampled_from(("1", "x")), number, max_size=1),
        "response_format": record({"type": st.sampled_from(("text", "json_object", "json_schema"))}),
        "structured_outputs": outputs,
        "stream_options": record({}, {"include_usage": st.booleans()}),
        "parallel_tool_calls": st.booleans(),
        "user": text,
    },
)
choosing = record(
    {
        "messages": st.just([{"role": "user", "content": "Ring the bell and look it up."}]),
        "tools": st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True).map(
            lambda names: [{"type": "function", "function": {"name": name, "parameters": {}}} for name in names]
        ),
    },
    {"model": st.just("agent"), "stream": st.booleans(), "tool_choice": choice, "parallel_tool_calls": st.booleans()},
)
"""A request among whose tools the model chooses."""
completion = record(
    {"prompt": text | st.lists(text, min_size=1, max_size=2) | st.lists(st.integers(0, 9), min_size=1, max_size=3)},
    {"model": st.just("agent"), "stream": st.booleans(), "max_tokens": st.integers(0, 100), "echo": st.booleans()},
)
feedback = record(
    {"id": st.sampled_from(("chatcmpl-1", "nobody")), "verdict": st.sampled_from(("good", "bad"))}, {"note": text}
)
