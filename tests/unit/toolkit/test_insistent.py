"""No result of an insistent sandbox is that of a lost worker."""

from pathlib import Path

import pytest

from tests.fakes.sandbox import LosingSandbox
from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor
from toolkit.registry import ToolRegistry
from toolkit.sandbox import Status, self_check
from toolkit.sandbox.insistent import Insistent
from toolkit.tool import ToolErrorKind

ONE = "def one(): return 1"


def test_a_lost_call_is_made_once_more(tmp_path: Path) -> None:
    assert LosingSandbox(1).run_source(ONE, "one", {}).status is Status.LOST
    losing = LosingSandbox(1)
    insistent = Insistent(losing)
    assert insistent.run_source(ONE, "one", {}).value == 1
    losing.losing = 1
    arguments = {"title": "a", "text": "b"}
    assert insistent.run("toolkit.builtin.notes", "save_note", arguments, workspace=tmp_path).ok
    assert (tmp_path / "notes" / "a.txt").read_text() == "b"


def test_lost_twice_the_sandbox_is_broken() -> None:
    with pytest.raises(SandboxUnavailable, match="a call of one was lost twice: the worker died"):
        Insistent(LosingSandbox(2)).run_source(ONE, "one", {})
    with pytest.raises(SandboxUnavailable, match="a call of index was lost twice"):
        Insistent(LosingSandbox(2)).run("operator", "index", {})


def test_a_failure_of_the_call_is_its_result() -> None:
    losing = LosingSandbox(0)
    assert Insistent(losing).run("operator", "index", {"value": "x"}).status is Status.TOOL_FAILED
    assert len(losing.calls) == 1


def test_without_it_the_kind_says_that_the_worker_was_lost() -> None:
    losing = LosingSandbox(1)
    error = Executor(ToolRegistry(), losing, made_code=losing).run_source(ONE, "one", {}).error
    assert error is not None
    assert error.kind is ToolErrorKind.LOST


def test_a_lost_worker_is_no_attempt_that_held() -> None:
    """The self-check takes a crash for a refusal, and must not take a lost worker for one."""

    with pytest.raises(SandboxUnavailable, match="a call of attempt was lost twice"):
        self_check.require_sound(LosingSandbox(10**9))
