"""Interactions of clients, and all of a session, a key or a tenant, are deleted at once."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.log.interaction_log import InteractionLog
from evolver.maintenance import forget as forget_module
from evolver.maintenance import sought as sought_module
from evolver.maintenance.forget import chosen, forget, forget_all
from evolver.maintenance.sought import Sought
from evolver.store.jsonl import append_lines, read_lines
from evolver.store.ledger import Ledger
from evolver.store.seen_tools import ToolCatalogue, refreshed
from evolver.types import Mined, Task, Trace
from tests.fakes.client_traffic import WEATHER, asked, log_turn
from tests.fakes.evolution import turn
from tests.unit.evolver.maintenance.test_forget import CALL, Place, adapters
from toolkit.errors import UserError


def test_the_tools_that_only_a_deleted_turn_showed_are_gone(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        gone = log_turn(log, asked("hello", answer="Hello!"))
        log_turn(log, asked("and hello", answer="Hello!"), tools=[WEATHER])
    with Ledger(tmp_path / "evolution.db") as ledger:
        assert len(refreshed(tmp_path, ledger)) == 2
        assert forget(tmp_path, ledger, gone).client_tools == ("refund_order",)
        assert [tool.name for tool in ToolCatalogue(ledger).tools()] == ["get_weather"]


@dataclass(frozen=True)
class Told:
    """An interaction with a lesson that names it, and a prompt with its request."""

    id: str
    request: str
    owner: str
    tenant: str
    session: str


@pytest.fixture
def told(tmp_path: Path) -> list[Told]:
    """Interactions of two keys of one tenant and one of another, and a cycle that learned from each."""
    found = []
    with InteractionLog(tmp_path / "interactions.db") as log:
        for number in range(60):
            owner, tenant = [("ann", "acme"), ("ben", "acme"), ("cid", "zoo")][number % 3]
            session = f"s{number // 30}"
            asked = f"what do {1000 + number} and 815\nof {owner} add up to" if number % 4 else f"ask {owner} {number}"
            origin = {"session": session, "owner": owner, "tenant": tenant}
            identity = log.append(turn(asked, CALL), source="gateway", **origin)  # type: ignore[arg-type]
            found.append(Told(identity, asked, **origin))
    folder = tmp_path / "cycles/0001"
    append_lines(folder / "kept.jsonl", [Place.logged(one.request, one.id) for one in found])
    prompts = [{"prompt": f"Request: {' '.join(one.request.split())}\nCall:"} for one in found]
    (folder / "requests.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    tasks = [
        Task(interaction_id=one.id, session="s", source="gateway", request=one.request, outcome="called")
        for one in found
    ]
    mined = Mined(interactions=60, last_interaction_id=found[-1].id, tasks=tuple(tasks))
    (folder / "mine.json").write_text(mined.model_dump_json())
    return found


@pytest.mark.parametrize("few", [0, 50])
@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"owner": "ann"}, 20),
        ({"tenant": "acme"}, 40),
        ({"session": "s1", "owner": "cid"}, 10),
        ({"tenant": "zoo"}, 20),
    ],
)
def test_all_of_a_session_a_key_or_a_tenant_goes(
    tmp_path: Path, told: list[Told], wanted: dict[str, str], count: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether few or many are looked for, in one pass."""
    monkeypatch.setattr(sought_module, "_FEW", few)
    monkeypatch.setattr(forget_module, "_AT_ONCE", 7)
    ids = chosen(tmp_path, **wanted)  # type: ignore[arg-type]
    gone = [one for one in told if one.id in ids]
    assert len(gone) == count
    assert all(getattr(one, name) == value for one in gone for name, value in wanted.items())
    with Ledger(tmp_path / "evolution.db") as ledger:
        adapters(ledger)
        found = forget_all(tmp_path, ledger, ids)
        assert ledger.marks() == {"adapter-0001": [f"may have learned from {count} deleted interactions"]}
        assert forget_all(tmp_path, ledger, ids).values == 0
    assert (found.interaction_id, found.interactions, found.logged, found.values) == (
        "",
        count,
        True,
        3 * count - short(gone),
    )
    left = [one for one in told if one not in gone]
    with InteractionLog.open_readonly(tmp_path / "interactions.db") as log:
        assert [one.id for one in log.read()] == [one.id for one in left]
    folder = tmp_path / "cycles/0001"
    assert [one.request for one in read_lines(folder / "kept.jsonl", Trace)] == [one.request for one in left]
    prompts = [json.loads(line)["prompt"] for line in (folder / "requests.jsonl").read_text().splitlines()]
    assert prompts == [f"Request: {' '.join(one.request.split())}\nCall:" for one in left]
    mined = Mined.model_validate_json((folder / "mine.json").read_text())
    assert [task.interaction_id for task in mined.tasks] == [one.id for one in left]


def short(gone: list[Told]) -> int:
    """Return how many requests are too short to be counted where they fill a line."""
    return sum(len(one.request) < 12 for one in gone)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text('ab\\"n\n\t ', min_size=12, max_size=20), min_size=1, max_size=4), st.text('ab\\"n\n\t '))
def test_many_requests_are_found_as_one_is(requests: list[str], other: str) -> None:
    lines = [
        json.dumps({"prompt": f"x{said}y"}) for said in (*requests, *(" ".join(one.split()) for one in requests), other)
    ]
    several = Sought(["0" * 12 + "-0000"], requests, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sought_module, "_FEW", 0)
        by_head = Sought(["0" * 12 + "-0000"], requests, ())
    assert [by_head.tells(line) for line in lines] == [several.tells(line) for line in lines]
    assert all(by_head.tells(line) for said, line in zip(requests, lines, strict=False) if len(said.strip()) >= 12)


def test_a_session_of_several_keys_needs_one_of_them(tmp_path: Path, told: list[Told]) -> None:
    with pytest.raises(UserError, match="several keys have a session s1: acme/ann, acme/ben, zoo/cid; add --owner"):
        chosen(tmp_path, session="s1")
    with pytest.raises(UserError, match="there is no interaction of session s1, owner dora"):
        chosen(tmp_path, session="s1", owner="dora")
    with pytest.raises(UserError, match="need a name"):
        chosen(tmp_path, owner="")
    assert len(chosen(tmp_path, session="s1", tenant="zoo")) == 10


def test_the_tools_of_a_key_that_is_gone_are_gone(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        for number in range(6):
            log_turn(log, asked(f"hello {number}", answer="Hello!"), owner="ann" if number % 2 else "ben")
    with Ledger(tmp_path / "evolution.db") as ledger:
        refreshed(tmp_path, ledger)
        found = forget_all(tmp_path, ledger, chosen(tmp_path, owner="ann"))
        assert sorted(found.client_tools) == ["get_weather", "refund_order"]
        assert {(tool.owner, tool.turns) for tool in ToolCatalogue(ledger).tools()} == {("ben", 3)}


def test_a_tool_that_deleted_turns_showed_last_has_the_text_of_the_newest_that_is_left(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "interactions.db") as log:
        texts = ["first", "second", "third", "fourth"]
        tools = [{**WEATHER, "function": {**WEATHER["function"], "description": text}} for text in texts]
        ids = [log_turn(log, asked(f"hello {n}", answer="Hi."), tools=[one]) for n, one in enumerate(tools)]
    with Ledger(tmp_path / "evolution.db") as ledger:
        refreshed(tmp_path, ledger)
        forget_all(tmp_path, ledger, ids[2:])
        assert [tool.description for tool in ToolCatalogue(ledger).tools()] == ["second"]
