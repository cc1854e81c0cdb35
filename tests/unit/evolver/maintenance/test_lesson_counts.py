"""What a person is told about the lessons behind an answer."""

from pathlib import Path

import pytest

from agent.config import Config
from evolver.maintenance.lesson_counts import lesson_counts
from evolver.store.cycle_folder import cycle_folder, mark_tenant
from evolver.store.jsonl import append_lines
from evolver.store.ledger import Ledger
from evolver.types import Adapter, Verdict
from tests.fakes.evolution import trace


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = Config(data_folder=tmp_path)
    with Ledger(tmp_path / "evolution.db") as ledger:
        for number in (1, 2, 3):
            ledger.open_cycle()
            added = Adapter(name=f"adapter-{number:04d}", folder=tmp_path, sha256="a" * 64)
            ledger.add_adapter(added, number, "base", "b" * 64)
            ledger.end_cycle(number, "promoted", "better")
            made = trace(f"add {number} and 4", "add", {"a": number}, number)
            dropped = trace(f"lend {number}", "lend", {"a": number}, number)
            folder = cycle_folder(tmp_path, number)
            append_lines(folder / "traces.jsonl", [made, dropped])
            verdicts = [Verdict(trace_id=made.id, kept=True), Verdict(trace_id=dropped.id, kept=False, reason="rare")]
            append_lines(folder / "verdicts.jsonl", verdicts)
    return config


def test_lessons_up_to_the_adapters_cycle_count_and_dropped_ones_do_not(config: Config) -> None:
    assert lesson_counts(config, "adapter-0002", ["add", "lend"]) == [
        "add: 2 lessons, such as (cycle 2): add 2 and 4",
        "lend: no lesson calls it",
    ]


def test_the_base_model_learned_nothing(config: Config) -> None:
    assert lesson_counts(config, "base", ["add"]) == ["nothing: the base model answered"]


def test_an_adapter_of_elsewhere_is_not_known(config: Config, tmp_path: Path) -> None:
    assert lesson_counts(config, "adapter-0009", ["add"]) == ["not known: no cycle here made adapter-0009"]
    assert lesson_counts(Config(data_folder=tmp_path / "empty"), "adapter-0001", ["add"]) == [
        "not known: no cycle here made adapter-0001"
    ]


def test_lessons_of_tenants_count_where_the_adapters_cycle_read_them(config: Config) -> None:
    data = config.data_folder
    with Ledger(data / "evolution.db") as ledger:
        for number, tenant in ((1, "sales"), (3, "care")):
            mark_tenant(cycle_folder(data, number), tenant)
            with ledger.together() as db:
                db.execute("UPDATE cycles SET tenant = ? WHERE number = ?", (tenant, number))
    assert lesson_counts(config, "adapter-0002", ["add"]) == ["add: 2 lessons, such as (cycle 2): add 2 and 4"]
    assert lesson_counts(config, "adapter-0003", ["add"]) == ["add: 1 lessons, such as (cycle 3): add 3 and 4"]
    with Ledger(data / "evolution.db") as ledger:
        ledger.note(2, "reads", {"tenant": ""})
    assert lesson_counts(config, "adapter-0002", ["add"]) == ["add: 1 lessons, such as (cycle 2): add 2 and 4"]
