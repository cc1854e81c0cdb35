from typing import Annotated, Literal, Optional

import pytest
from pydantic import BaseModel, Field

from toolkit.declare import Effect, Known, declaration_of, tool
from toolkit.describing import NotDescribable, describe


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

    def endless(value: float = float("inf")) -> None: ...

    for function, reason in (
        (loose, "by name"),
        (untyped, "no type hint"),
        (living, "without a JSON schema"),
        (endless, "default inf, which is no JSON number; use None"),
    ):
        with pytest.raises(NotDescribable, match=reason):
            describe(function)


GOOGLE = """Book a room
in a hotel.

More that the model need not read.

Args:
    guest: Who stays.
    nights (int): How many nights, at
        least one.

Returns:
    code: not a parameter.
"""
NUMPY = """Book a room
in a hotel.

More that the model need not read.

Parameters
----------
guest : str
    Who stays.
nights : int, optional
    How many nights, at
    least one.

Returns
-------
str
    code: not a parameter.
"""
SPHINX = """Book a room
in a hotel.

More that the model need not read.

:param guest: Who stays.
:param int nights: How many nights, at
    least one.
:type guest: str
:returns: code: not a parameter.
"""
EPYTEXT = """Book a room
in a hotel.

More that the model need not read.

@param guest: Who stays.
@type guest: str
@param nights: How many nights, at
    least one.
@return: code: not a parameter.
"""


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX, EPYTEXT], ids=["google", "numpy", "sphinx", "epytext"])
def test_every_style_of_docstring_tells_of_parameters(docstring: str) -> None:
    def written(guest: str, nights: int = 1, code: str = "") -> str:
        return guest

    written.__doc__ = docstring
    described = describe(written)
    assert described.description == "Book a room in a hotel."
    assert described.parameters["properties"] == {
        "guest": {"type": "string", "description": "Who stays."},
        "nights": {"type": "integer", "default": 1, "description": "How many nights, at least one."},
        "code": {"type": "string", "default": ""},
    }


def test_a_docstring_in_no_style_gives_its_first_paragraph() -> None:
    def written() -> None: ...

    for text, shown in (("One\nline.\n\nMore.", "One line."), ("", "written"), ("Args:\n\n\n:param", "Args:")):
        written.__doc__ = text
        assert describe(written).description == shown


class Node(BaseModel):
    name: str
    next: "Node | None" = None
    title: str = Field("t", json_schema_extra={"examples": [{"title": "kept", "$ref": "kept"}]})


def test_a_type_that_contains_itself_is_described_once() -> None:
    def walk(root: Node) -> None: ...

    assert describe(walk).parameters["properties"] == {
        "root": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None},
                "title": {"type": "string", "default": "t", "examples": [{"title": "kept", "$ref": "kept"}]},
            },
            "required": ["name"],
        }
    }


Room = Annotated[str, Known(("hall", "attic"))]


def test_the_texts_that_a_parameter_can_be_given_are_kept_apart_from_the_schema() -> None:
    def heat(first: Room, others: list[Room], degrees: int, last: Room | None = None) -> None: ...

    tool = describe(heat)
    assert tool.known == dict.fromkeys(("first", "others", "last"), ("hall", "attic"))
    assert "attic" not in str(tool.schema())
