from typing import Literal, Optional

import pytest

from toolkit.declare import Effect, declaration_of, tool
from toolkit.describing import NotDescribable, describe
from toolkit.tool import describe as describe_through_tool


@tool(effect="pure")
def book(
    guest: str,
    nights: int,
    room: Literal["single", "double"],
    extras: list[str],
    price: float = 9.5,
    code: str | None = None,
) -> str:
    """Book a room
    in a hotel.

    More that the model need not read.

    Args:
        guest: Who stays.
        nights (int): How many nights, at
            least one.
        room: single or double.

    Returns:
        nights: not a parameter description.
    """
    return guest


def test_a_typed_function_becomes_a_schema() -> None:
    described = describe(book, source="module:hotel")
    assert described.name == "book"
    assert described.description == "Book a room in a hotel."
    assert (described.effect, described.source, described.function) == (Effect.PURE, "module:hotel", "book")
    assert described.parameters == {
        "type": "object",
        "properties": {
            "guest": {"type": "string", "description": "Who stays."},
            "nights": {"type": "integer", "description": "How many nights, at least one."},
            "room": {"enum": ["single", "double"], "type": "string", "description": "single or double."},
            "extras": {"items": {"type": "string"}, "type": "array"},
            "price": {"type": "number", "default": 9.5},
            "code": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["guest", "nights", "room", "extras"],
        "additionalProperties": False,
    }
    assert describe_through_tool(book, source="module:hotel") == described


def test_an_undeclared_effect_is_writes() -> None:
    @tool
    def bare(value: int) -> int:
        return value

    @tool()
    def called(value: int) -> int:
        return value

    assert declaration_of(bare) == declaration_of(called)
    assert describe(bare).effect is Effect.WRITES
    assert describe(bare).description == "bare"


def test_an_unknown_effect_is_an_error() -> None:
    with pytest.raises(ValueError, match="harmless"):
        tool(effect="harmless")


def test_nested_types_are_flat_and_untitled() -> None:
    def place(title: dict[str, list[int]], where: Optional[Literal["a", "b"]] = "a") -> None: ...  # noqa: UP045

    properties = describe(place).parameters["properties"]
    assert properties == {
        "title": {
            "additionalProperties": {"items": {"type": "integer"}, "type": "array"},
            "type": "object",
        },
        "where": {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}], "default": "a"},
    }


def test_what_cannot_be_described_is_refused() -> None:
    def loose(*values: int) -> None: ...
    def untyped(value) -> None: ...  # type: ignore[no-untyped-def]
    def living(value: type(open)) -> None: ...  # type: ignore[valid-type]

    for function, reason in ((loose, "by name"), (untyped, "no type hint"), (living, "without a JSON schema")):
        with pytest.raises(NotDescribable, match=reason):
            describe(function)
