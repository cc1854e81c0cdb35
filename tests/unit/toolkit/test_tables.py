"""Tables: for people on a terminal, for grep elsewhere."""

import subprocess
import sys

import pytest

from toolkit.tables import table_text

COLUMNS = ("NAME", "SAYS")
ROWS = [("one", "short"), ("another", "word " * 60 + "end")]


def test_without_a_terminal_a_row_is_one_line_and_there_is_no_heading() -> None:
    assert table_text(COLUMNS, ROWS).splitlines() == ["one      short", "another  " + "word " * 60 + "end"]


def test_on_a_terminal_there_is_a_heading_and_nothing_is_wider_than_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    heading, first, *rest = table_text(COLUMNS, ROWS).splitlines()
    assert (heading.split(), first.split()) == (["NAME", "SAYS"], ["one", "short"])
    assert len(rest) > 1
    assert max(len(line) for line in rest) <= 40
    assert sum(line.count("word") for line in rest) == 60


def test_text_is_shown_as_it_is_and_cannot_steer_the_terminal() -> None:
    assert table_text(("A",), [("[red]x[/red] :smile:",)]) == "[red]x[/red] :smile:"
    shown = table_text(("A", "B"), [("\x1b[31mx", "two\nlines\u202e")])
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown.splitlines()) == 1


def test_rich_is_not_imported_before_a_table_is_made() -> None:
    code = "import sys, toolkit.tables, toolkit.cli, agent.commands; print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
