"""Results of tools that clients ran: which say that the call failed, and which say nothing."""

from typing import Any

import pytest

from evolver.text.logged_results import finds_nothing, says_failure

FAILED: list[Any] = [
    "Error: no such city",
    "Failed to fetch",
    "Could not find order 7",
    "HTTP 404",
    "404 Not Found",
    "status: 500",
    "Permission denied",
    {"error": "no such order"},
    {"ok": False, "data": 3},
    {"status": "failed"},
    {"status_code": 422},
    {"isError": True, "content": []},
    [{"type": "text", "text": "Error: timeout"}],
]
WORKED: list[Any] = [
    "Refunded 404 dollars",
    "failures: 0",
    "sunny",
    {"error": None, "temperature": 3},
    {"errors": [], "ok": True},
    {"status": "refunded"},
    {"status": 200},
    [{"type": "text", "text": "sunny"}],
    42,
    None,
]


@pytest.mark.parametrize("value", FAILED, ids=str)
def test_a_failure_is_known_by_its_words_and_fields(value: Any) -> None:
    assert says_failure(value)


@pytest.mark.parametrize("value", WORKED, ids=str)
def test_what_worked_is_none(value: Any) -> None:
    assert not says_failure(value)


@pytest.mark.parametrize(
    "value", ["", "  ", "none", "No results.", "no matches for Bern", [], {}, {"items": [], "total": 0}, None], ids=str
)
def test_an_empty_result_finds_nothing(value: Any) -> None:
    assert finds_nothing(value)


@pytest.mark.parametrize("value", ["rain", 0, False, {"open": False}, [1], "no umbrella needed today"], ids=str)
def test_a_result_that_says_something(value: Any) -> None:
    assert not finds_nothing(value)
