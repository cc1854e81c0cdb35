"""The evolver command: data on stdout, one line and exit code 2 for what a person can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toolkit.execute
from evolver.cli.main import main
from evolver.release import release
from evolver.store.ledger import Ledger
from evolver.types import Adapter
from tests.fakes import shop_tools
from tests.fakes.evolution import publish_adapter
from tests.fakes.evolver_command import FIRST, SECOND, Evolver
from toolkit.config import ToolkitConfig
from toolkit.execute import Executor


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('data_folder = "data"\n')
    return path


@pytest.fixture
def data(file: Path) -> Path:
    return file.parent / "data"


@pytest.fixture
def evolver(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evolver:
    """Runs ``evolver ARGUMENTS``; gives exit code, stdout, stderr."""

    def run(*arguments: str, config: Path = file) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evolver", *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def adapters(data: Path) -> dict[str, Adapter]:
    """Two adapters, the second serves."""
    with Ledger(data / "evolution.db") as ledger:
        made = {}
        for name in (FIRST, SECOND):
            number = ledger.open_cycle().number
            ledger.note(number, "make", {"traces": 12, "by_kind": {"logged": 2}})
            made[name] = publish_adapter(data, name)
            ledger.add_adapter(made[name], number, "base", "d")
            ledger.set_adapter_state(
                name, "candidate", {"call_accuracy": {"hits": 3, "n": 4}, "irrelevance_accuracy": {"hits": 0, "n": 0}}
            )
            release.promote(name, data, ledger, None, reason=f"cycle {number}")
            ledger.end_cycle(number, "promoted", "it is better", "01")
    return made


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(_: ToolkitConfig, **options: Any) -> Iterator[Executor]:
        yield shop_tools.executor()

    monkeypatch.setattr(toolkit.execute, "open_executor", opened)
