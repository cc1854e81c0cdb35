"""Requests of other protocols as hypothesis strategies: Responses, Messages and embeddings; now and then wrong."""

from hypothesis import strategies as st

from tests.fuzz.openai_requests import NAMES, anything, arguments, call_id, leaf, number, parameters, record, text

_part = record({"type": st.sampled_from(("input_text", "output_text", "text", "input_image"))}, {"text": text})
_content = text | st.lists(_part, max_size=2)
_item = st.one_of(
    record({"role": st.sampled_from(("user", "assistant", "system", "developer")), "content": _content}),
    record(
        {"type": st.just("function_call"), "call_id": call_id, "name": st.sampled_from(NAMES), "arguments": arguments}
    ),
    record({"type": st.just("function_call_output"), "call_id": call_id, "output": _content}),
    record({"type": st.just("reasoning")}, {"summary": anything}),
)
_response_tool = record(
    {"type": st.sampled_from(("function", "web_search"))},
    {"name": st.sampled_from(NAMES), "description": text, "parameters": parameters, "strict": st.booleans()},
)
_named = st.sampled_from(NAMES)
responses = record(
    {"input": text | st.lists(_item, min_size=1, max_size=4)},
    {
        "model": st.just("agent"),
        "instructions": text,
        "stream": st.booleans(),
        "tools": st.lists(_response_tool, max_size=3),
        "tool_choice": st.sampled_from(("auto", "none", "required"))
        | record({"type": st.just("function"), "name": _named}),
        "previous_response_id": text,
        "max_output_tokens": st.integers(0, 100),
        "temperature": number,
        "text": record({}, {"format": record({"type": st.sampled_from(("text", "json_object", "json_schema"))})}),
        "store": st.booleans(),
        "include": anything,
        "metadata": anything,
    },
)

_block = st.one_of(
    record({"type": st.just("text"), "text": text}),
    record({"type": st.just("tool_use"), "id": call_id, "name": _named, "input": st.dictionaries(text, leaf)}),
    record({"type": st.just("tool_result"), "tool_use_id": call_id}, {"content": text, "is_error": st.booleans()}),
    record({"type": st.just("thinking"), "thinking": text}),
)
_anthropic_tool = record({"name": _named, "input_schema": parameters}, {"description": text, "type": st.just("custom")})
messages = record(
    {
        "messages": st.lists(
            record({"role": st.sampled_from(("user", "assistant")), "content": text | st.lists(_block, max_size=3)}),
            min_size=1,
            max_size=4,
        ),
        "max_tokens": st.integers(0, 100),
    },
    {
        "model": st.just("agent"),
        "system": text | st.lists(record({"type": st.just("text"), "text": text}), max_size=2),
        "stream": st.booleans(),
        "tools": st.lists(_anthropic_tool, max_size=3),
        "tool_choice": record({"type": st.sampled_from(("auto", "any", "tool", "none"))}, {"name": _named}),
        "temperature": number,
        "top_k": st.integers(-1, 100),
        "stop_sequences": st.lists(text, max_size=2),
        "metadata": anything,
    },
)
embeddings = record(
    {"input": text | st.lists(text, max_size=3)},
    {"model": text, "encoding_format": st.sampled_from(("float", "base64")), "dimensions": st.integers(0, 400)},
)
