"""What any Sandbox does; the fake and the real one must agree."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.sandbox import InProcessSandbox
from toolkit.config import SandboxConfig
from toolkit.sandbox import Invocation, Sandbox, Status
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules


@pytest.fixture(scope="module")
def real() -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(timeout_seconds=60), builtin_modules()) as sandbox:
        yield sandbox


@pytest.fixture(params=["fake", "real"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return InProcessSandbox() if request.param == "fake" else request.getfixturevalue("real")


def test_a_function_is_called_by_name_with_its_arguments(sandbox: Sandbox) -> None:
    result = sandbox.run(Invocation("toolkit.builtin.text", "replace_text", {"text": "a b a", "old": "a", "new": "ö"}))
    assert (result.status, result.value) == (Status.OK, "ö b ö")


def test_source_is_executed_then_its_function_called(sandbox: Sandbox) -> None:
    result = sandbox.run(
        Invocation.of_source("import math\ndef area(r):\n    return math.floor(math.pi * r * r)", "area", {"r": 2})
    )
    assert (result.status, result.value) == (Status.OK, 12)


def test_what_a_tool_raises_is_its_result(sandbox: Sandbox) -> None:
    result = sandbox.run(Invocation("toolkit.builtin.geometry", "circle_area", {"radius": -1}))
    assert (result.status, result.error_type) == (Status.TOOL_FAILED, "ValueError")
    assert result.message == "radius must be greater than 0"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(1, 2.5, None, True)", [1, 2.5, None, True]),
        ("{'b': {1, 2}}", {"b": [1, 2]}),
        ("__import__('datetime').date(2024, 2, 29)", "2024-02-29"),
        ("__import__('decimal').Decimal('0.10')", "0.10"),
        ("b'abc'", "abc"),
        ("'\\x00\\u202e'", "\x00\u202e"),
    ],
)
def test_results_become_json(sandbox: Sandbox, expression: str, value: object) -> None:
    result = sandbox.run(Invocation.of_source(f"def make(): return {expression}", "make", {}))
    assert (result.status, result.value) == (Status.OK, value)


@pytest.mark.parametrize("expression", ["float('nan')", "object()", "iter([1])", "{(1, 2): 3}"])
def test_what_json_cannot_hold_is_a_failure(sandbox: Sandbox, expression: str) -> None:
    result = sandbox.run(Invocation.of_source(f"def make(): return {expression}", "make", {}))
    assert result.status is Status.TOOL_FAILED
    assert result.message.startswith("the result")


def test_a_workspace_keeps_what_successful_calls_write(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    assert sandbox.run(
        Invocation("toolkit.builtin.notes", "save_note", {"title": "A", "text": "ä"}, workspace=folder)
    ).ok
    read = sandbox.run(Invocation("toolkit.builtin.notes", "read_note", {"title": "a"}, workspace=folder))
    assert read.value == "ä"
    assert sandbox.run(Invocation("toolkit.builtin.notes", "delete_note", {"title": "a"}, workspace=folder)).ok
    assert not sandbox.run(Invocation("toolkit.builtin.notes", "read_note", {"title": "a"}, workspace=folder)).ok


def test_without_a_workspace_nothing_is_kept(sandbox: Sandbox) -> None:
    assert sandbox.run(Invocation("toolkit.builtin.notes", "save_note", {"title": "A", "text": "x"})).ok
    assert not sandbox.run(Invocation("toolkit.builtin.notes", "read_note", {"title": "A"})).ok


def test_records_begin_with_shipped_data_and_keep_changes_in_their_workspace(sandbox: Sandbox, tmp_path: Path) -> None:
    move = Invocation(
        "toolkit.builtin.contacts",
        "update_contact",
        {"name": "Tom Becker", "detail": "city", "value": "Kiel"},
        workspace=tmp_path,
    )
    asked = ("toolkit.builtin.contacts", "get_contact_detail", {"name": "Tom Becker", "detail": "city"})
    assert sandbox.run(Invocation(*asked, workspace=tmp_path)).value == "Hamburg"
    assert list(tmp_path.rglob("*.json")) == []
    assert sandbox.run(move).ok
    assert sandbox.run(Invocation(*asked, workspace=tmp_path)).value == "Kiel"
    assert sandbox.run(Invocation(*asked)).value == "Hamburg"


def test_calls_from_many_threads_do_not_mix(sandbox: Sandbox) -> None:
    found: dict[int, object] = {}

    def call(number: int) -> None:
        found[number] = sandbox.run(Invocation("toolkit.builtin.number_theory", "factorial", {"number": number})).value

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800]
    assert [found[number] for number in range(12)] == expected
