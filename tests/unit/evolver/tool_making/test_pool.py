"""The pool of made tools: nothing serves without a person's word, nothing rejected comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolver.crew.local import LocalCrew
from evolver.crew.workshop import Workshop
from evolver.store.ledger import Ledger
from evolver.tool_making.pool import UNAPPROVED, ToolPool
from evolver.types import ToolExample
from tests.fakes import shop_tools
from tests.fakes.sandbox import InProcessSandbox
from toolkit.errors import UserError
from toolkit.execute import Executor
from toolkit.made import APPROVED, MadeCode, MadeTool, read_approved
from toolkit.tool import Effect, ToolCall

pytestmark = pytest.mark.usefixtures("each_database")

EXAMPLE = ToolExample(arguments={"total": 10}, result=5)


def made(name: str = "half_bill", code: str = "total / 2") -> MadeTool:
    return MadeTool(
        name=name,
        description="Halve a bill.",
        parameters={
            "type": "object",
            "properties": {"total": {"type": "number"}},
            "required": ["total"],
            "additionalProperties": False,
        },
        source=f"def {name}(total: float) -> float:\n    return {code}\n",
    )


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ToolPool]:
    with Ledger(tmp_path / "evolution.db", now=lambda: 5.0) as ledger:
        yield ToolPool(tmp_path, ledger)


def add(pool: ToolPool, tool: MadeTool, interaction: str = "i1") -> str:
    return pool.add(tool, [EXAMPLE], cycle=3, maker="base", interaction_id=interaction, request="Halve 10")


def approved(tmp_path: Path) -> list[MadeTool]:
    return read_approved(tmp_path / "approved_tools")


def test_a_tool_waits_with_its_lineage(pool: ToolPool, tmp_path: Path) -> None:
    assert add(pool, made()) is None
    (found,) = pool.tools()
    assert (found.name, found.state, found.cycle, found.maker) == ("half_bill", "waiting", 3, "base")
    assert (found.interaction_id, found.request, found.created_at) == ("i1", "Halve 10", 5.0)
    assert (found.tool, found.examples, found.sha256) == (made(), (EXAMPLE,), made().sha256)
    assert approved(tmp_path) == []


def test_only_approval_puts_it_where_the_agent_looks(pool: ToolPool, tmp_path: Path) -> None:
    add(pool, made())
    assert pool.approve("half_bill").state == "approved"
    assert approved(tmp_path) == [made()]
    assert pool.approve("half_bill").decided_at == 5.0
    assert [tool.name for tool in pool.tools("approved")] == ["half_bill"]
    assert pool.tools("waiting") == []


def test_an_approval_that_was_cut_off_is_mended_by_approving_again(
    pool: ToolPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(pool, made())
    with monkeypatch.context() as patched:
        patched.setattr(ToolPool, "_set_state", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pool.approve("half_bill")
    assert [tool.state for tool in pool.tools()] == ["waiting"]
    pool.approve("half_bill")
    assert [tool.state for tool in pool.tools()] == ["approved"]
    assert approved(tmp_path) == [made()]


def test_a_rejected_tool_is_gone_everywhere_and_stays_out(pool: ToolPool, tmp_path: Path) -> None:
    add(pool, made())
    pool.approve("half_bill")
    assert pool.reject("half_bill").state == "rejected"
    assert approved(tmp_path) == []
    assert add(pool, made()) == "rejected_before"
    assert add(pool, made(code="total * 0.5")) is None
    assert [tool.state for tool in pool.tools()] == ["rejected", "waiting"]
    for decide in (pool.approve, pool.reject):
        with pytest.raises(UserError, match="evolver tools list"):
            decide("other_tool")


def test_one_name_is_one_tool(pool: ToolPool) -> None:
    assert add(pool, made()) is None
    assert add(pool, made()) == "in_the_pool_already"
    assert add(pool, made(code="total * 0.5")) == "name_in_use"
    assert len(pool.tools()) == 1


def test_forgetting_an_interaction_takes_its_tools(pool: ToolPool, tmp_path: Path) -> None:
    add(pool, made())
    add(pool, made("third_bill", "total / 3"), "i2")
    pool.approve("half_bill")
    pool.approve("third_bill")
    assert pool.forget("i1") == ["half_bill"]
    assert [tool.name for tool in approved(tmp_path)] == ["third_bill"]
    assert [tool.name for tool in pool.tools()] == ["third_bill"]
    assert pool.forget("i1") == []


def test_lessons_may_use_what_waits_and_serving_does_not(pool: ToolPool) -> None:
    add(pool, made())
    add(pool, made("ring_bells", "total"), "i2")
    add(pool, made("bad_bill", "total"), "i3")
    pool.reject("bad_bill")
    serving = Executor(shop_tools.registry(), InProcessSandbox(), {APPROVED: MadeCode([], InProcessSandbox())})
    crew = LocalCrew(Workshop(serving, None, None), 1)  # type: ignore[arg-type]
    lessons = pool.lesson_crew(crew).here.executor
    call = ToolCall(id="1", name="half_bill", arguments={"total": 9})
    assert lessons.execute(call).value == 4.5
    assert not lessons.execute(call.model_copy(update={"arguments": {"total": "9"}})).ok
    assert not serving.execute(call).ok
    tool = lessons.registry.get("half_bill")
    assert tool is not None
    assert (tool.effect, tool.source) == (Effect.PURE, f"{UNAPPROVED}:{made().sha256[:12]}")
    assert lessons.registry.get("bad_bill") is None
    assert serving.registry.get("half_bill") is None
    built_in = ToolCall(id="2", name="add_prices", arguments={"first": 1, "second": 2})
    assert lessons.execute(built_in).value == 3
