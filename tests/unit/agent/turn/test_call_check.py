"""What a call says beyond the request: options that nobody asked for, texts of which nothing was said."""

from typing import Any

import pytest

from agent.turn.call_check import check
from toolkit.tool import Tool, ToolCall

TOOL = Tool(
    name="find_film",
    description="Find films.",
    parameters={
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "year": {"type": "integer"},
            "genre": {"type": "string", "enum": ["comedy", "thriller"]},
            "include_cast": {"type": "boolean"},
            "towns": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["title"],
    },
)


def found(said: str, **arguments: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    checked = check(ToolCall(id="c", name="find_film", arguments=arguments), TOOL, said)
    assert checked.kept.arguments == {name: value for name, value in arguments.items() if name not in checked.dropped}
    return checked.dropped, checked.unfounded


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("Find Alien of 1979", {"year": 1979}),
        ("Find Alien, a thriller", {"genre": "thriller"}),
        ("Find Alien, something thrilling", {"genre": "thriller"}),
        ("Find Alien with the cast", {"include_cast": True}),
        ("Find Alien in Bergen and Oslo", {"towns": ["Oslo", "Bergen"]}),
        ("Find Alien from the last twelve years", {"year": 12}),
    ],
    ids=str,
)
def test_an_option_that_is_asked_for_in_any_form_is_kept(said: str, option: dict[str, Any]) -> None:
    assert found(said, title="Alien", **option) == ((), ())


@pytest.mark.parametrize(
    "option",
    [{"year": 1979}, {"genre": "thriller"}, {"include_cast": True}, {"towns": ["Oslo"]}, {"towns": []}],
    ids=str,
)
def test_an_option_that_nobody_asked_for_is_dropped(option: dict[str, Any]) -> None:
    assert found("Find the film Alien", title="Alien", **option) == (tuple(option), ())


def test_a_required_text_of_which_nothing_was_said_is_unfounded() -> None:
    assert found("Find that film with the shark", title="Gone with the Wind") == ((), ())
    assert found("Find that film with the shark", title="Titanic") == ((), ("title",))
    assert found("", title="Titanic") == ((), ("title",))


@pytest.mark.parametrize(("said", "title"), [("500 US dollars", "USD"), ("아시아 영화 기생충을 찾아줘", "기생충")])
def test_a_code_and_a_word_of_a_script_without_spaces_may_stand_for_what_was_said(said: str, title: str) -> None:
    assert found(said, title=title) == ((), ())


def test_other_forms_of_required_values_are_not_judged() -> None:
    tool = TOOL.model_copy(
        update={
            "parameters": {
                "type": "object",
                "properties": {
                    "day": {"type": "string", "format": "date"},
                    "size": {"type": "string", "enum": ["small", "large"]},
                    "count": {"type": "integer"},
                },
                "required": ["day", "size", "count"],
            }
        }
    )
    call = ToolCall(id="c", name="find_film", arguments={"day": "2026-01-31", "size": "large", "count": 3})
    checked = check(call, tool, "as ever please")
    assert (checked.dropped, checked.unfounded, checked.kept) == ((), (), call)
