"""An insistent sandbox tells a broken sandbox from a call that ends its worker each time."""

from pathlib import Path

import pytest

from tests.fakes.sandbox import LosingSandbox
from toolkit.errors import SandboxUnavailable
from toolkit.execute import tool_result
from toolkit.sandbox import Invocation, Status, self_check
from toolkit.sandbox.insistent import Insistent
from toolkit.tool import ToolCall, ToolErrorKind

ONE = "def one(): return 1"


def test_a_lost_call_is_made_once_more(tmp_path: Path) -> None:
    assert LosingSandbox(1).run(Invocation.of_source(ONE, "one", {})).status is Status.LOST
    losing = LosingSandbox(1)
    insistent = Insistent(losing)
    assert insistent.run(Invocation.of_source(ONE, "one", {})).value == 1
    losing.losing = 1
    arguments = {"title": "a", "text": "b"}
    assert insistent.run(Invocation("toolkit.builtin.notes", "save_note", arguments, workspace=tmp_path)).ok
    assert '"title": "a"' in (tmp_path / "records" / "notes.json").read_text()


def test_where_a_harmless_call_is_lost_too_the_sandbox_is_broken() -> None:
    with pytest.raises(
        SandboxUnavailable, match="a call of one was lost twice, a harmless one after it too: the worker"
    ):
        Insistent(LosingSandbox(3)).run(Invocation.of_source(ONE, "one", {}))
    with pytest.raises(SandboxUnavailable, match="a call of index was lost twice"):
        Insistent(LosingSandbox(3)).run(Invocation("operator", "index", {}))


def test_a_call_that_ends_its_worker_each_time_is_told_from_a_broken_sandbox() -> None:
    deadly = LosingSandbox(0, deadly="one")
    assert Insistent(deadly).run(Invocation.of_source(ONE, "one", {})).status is Status.LOST
    assert [name for _, name in deadly.calls] == ["one", "one", "index", "one"]
    assert Insistent(deadly).run(Invocation.of_source("def two(): return 2", "two", {})).value == 2


def test_two_losses_by_chance_cost_nothing() -> None:
    losing = LosingSandbox(2)
    assert Insistent(losing).run(Invocation.of_source(ONE, "one", {})).value == 1


def test_a_failure_of_the_call_is_its_result() -> None:
    losing = LosingSandbox(0)
    assert Insistent(losing).run(Invocation("operator", "index", {"value": "x"})).status is Status.TOOL_FAILED
    assert len(losing.calls) == 1


def test_without_it_the_kind_says_that_the_worker_was_lost() -> None:
    losing = LosingSandbox(1)
    ran = losing.run(Invocation.of_source(ONE, "one", {}))
    error = tool_result(ToolCall(id="1", name="one", arguments={}), ran).error
    assert error is not None
    assert error.kind is ToolErrorKind.LOST


def test_a_lost_worker_is_no_attempt_that_held() -> None:
    """The self-check takes a crash for a refusal, and must not take a lost worker for one."""

    with pytest.raises(SandboxUnavailable, match="a call of attempt was lost twice"):
        self_check.require_sound(LosingSandbox(10**9))
    with pytest.raises(SandboxUnavailable, match=r"does not hold: start a process \(lost: .*; run a program"):
        self_check.require_sound(LosingSandbox(0, deadly="attempt"))
