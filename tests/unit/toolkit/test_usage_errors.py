"""A command line that cannot be read is told in one line with the fix, whatever typer and pydantic say of it."""

import sys
from importlib import import_module

import pytest

MAINS = {"agent": "agent.cli", "evolver": "evolver.cli.main", "toolkit": "toolkit.cli"}

WRONG = {
    "agent log --limit 0": "--limit must be 1 or more, not 0; see: agent log --help",
    "agent log --limit x": "--limit must be a whole number, not x; see: agent log --help",
    "agent log --limit": "--limit needs a value; write it behind the option",
    "agent log --limt 3": "there is no option --limt; did you mean --limit? see: agent log --help",
    "agent log old ones": "old ones is more than the command takes; put a value with spaces in quotes; "
    "see: agent log --help",
    "agent feedback ID maybe": "VERDICT must be good or bad, not maybe; see: agent feedback --help",
    "agent feedback": "ID is missing; write: agent feedback ID good|bad",
    "agent completion tcsh": "SHELL must be bash, zsh or fish, not tcsh; see: agent completion --help",
    "agent import --format x f": "--format must be openai, finetuning, langfuse or otel, not x; "
    "see: agent import --help",
    "agent keys crate a": "there is no command crate; did you mean create? see: agent keys --help",
    "agent nope": "there is no command nope; see: agent --help",
    "agent chat --sesion x": "there is no option --sesion; did you mean --session or --json? see: agent chat --help",
    "evolver report x": "CYCLE must be a whole number, not x; see: evolver report --help",
    "evolver cycle --rounds 9": "--rounds must be 3 or less, not 9; see: evolver cycle --help",
    "evolver trial a --share x": "--share must be a number, not x; see: evolver trial --help",
    "evolver export a --format x": "--format must be peft, merged or gguf, not x; see: evolver export --help",
    "evolver backup": "FOLDER is missing; write: evolver backup FOLDER",
    "toolkit list --left-out=3": "--left-out takes no value; leave out what follows =",
}


def ended(monkeypatch: pytest.MonkeyPatch, line: str) -> int | str | None:
    program, *words = line.split()
    monkeypatch.setattr(sys, "argv", [program, *words])
    with pytest.raises(SystemExit) as error:
        import_module(MAINS[program]).main()
    return error.value.code


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_one_line_with_the_fix(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, line) == 2
    out, said = capsys.readouterr()
    assert (out, said) == ("", f"{line.split(maxsplit=1)[0]}: {WRONG[line]}\n")


@pytest.mark.parametrize("program", MAINS)
def test_a_command_without_words_shows_its_help(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, program) == 2
    assert "Commands:" in capsys.readouterr().err
    assert ended(monkeypatch, f"{program} --help") == 0
    assert "Commands:" in capsys.readouterr().out
