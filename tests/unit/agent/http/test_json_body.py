"""Bodies of requests: what they may hold, and what is said of those that are wrong."""

import json
from typing import Literal

import pytest

from agent.http import json_body
from agent.http.http_error import HttpError
from agent.http.json_body import Body


class Inner(Body):
    name: str
    sizes: tuple[int, ...] | list[int] = ()


class Outer(Body):
    on: bool = False
    kind: Literal["a", "b"] = "a"
    ratio: float = 0.0
    content: str | list[Inner] = ""


def test_null_is_not_given_and_nested_null_stays() -> None:
    assert json_body.parse(b'{"a": null, "b": {"c": null}}') == {"b": {"c": None}}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\xff"}', b"[" * 100_000]
)
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(HttpError, match="the request's body is no JSON object; send one") as refused:
        json_body.parse(content, "send one")
    assert refused.value.status == 400


def test_depth_is_bounded() -> None:
    assert json_body.parse(b'{"a":' + b"[" * 127 + b"]" * 127 + b"}")
    with pytest.raises(HttpError, match="more than 128 levels"):
        json_body.parse(b'{"a":' + b"[" * 128 + b"]" * 128 + b"}")


def test_half_a_character_becomes_a_replacement_and_whole_ones_stay() -> None:
    assert json_body.parse(b'{"a": "x\\ud83d", "b": "\\ud83d\\ude00"}') == {"a": "x\ufffd", "b": "\U0001f600"}


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert json_body.parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"on": "false"}, "on", 'on must be true or false, not "false"'),
        ({"on": 1}, "on", "on must be true or false, not 1"),
        ({"ratio": "1"}, "ratio", 'ratio must be a number, not "1"'),
        ({"ratio": True}, "ratio", "ratio must be a number, not true"),
        ({"kind": "c"}, "kind", "kind must be 'a' or 'b', not \"c\""),
        ({"content": 3}, "content", "content must be a text or a list, not 3"),
        ({"content": [{}]}, "content[0].name", "content[0].name is missing"),
        ({"content": [{"name": "x", "sizes": [1, "2"]}]}, "content[0].sizes[1]", 'must be a whole number, not "2"'),
        ({"content": ["x" * 90]}, "content[0]", f'content[0] must be an object, not "{"x" * 59}…'),
    ],
)
def test_the_field_at_fault_is_named(body: dict[str, object], param: str, message: str) -> None:
    with pytest.raises(HttpError) as refused:
        json_body.check(body, Outer, "do so")
    assert refused.value.param == param
    assert refused.value.message.endswith(f"{message}; do so")
    error = json.loads(bytes(refused.value.response().body))["error"]
    assert error == {
        "message": refused.value.message,
        "type": "invalid_request_error",
        "param": param,
        "code": 400,
    }
