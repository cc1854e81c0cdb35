"""Every command, option and argument of the three commands says what it does, in the same form."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

FORM = re.compile(r"[A-Z].*[.]( \[default: .*\])?", re.DOTALL)
NO_OPENING = re.compile(r"(What|Whether|How|Who|Which|Where|Why|If|The)\b")
MODULES = {"toolkit": "toolkit.cli", "agent": "agent.commands", "evolver": "evolver.cli.main"}


def texts(command: Any, path: str) -> Iterator[tuple[str, str | None]]:
    """The help of ``command`` and of all below it, by its place."""
    yield path, command.help
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", getattr(parameter, "help", None)
    for name, below in getattr(command, "commands", {}).items():
        yield from texts(below, f"{path} {name}")


def help_of(program: str) -> list[tuple[str, str | None]]:
    return list(texts(typer.main.get_command(import_module(MODULES[program]).app), program))


@pytest.mark.parametrize("program", MODULES)
def test_every_help_text_is_a_sentence_that_opens_with_a_verb_or_a_noun(program: str) -> None:
    found = help_of(program)
    assert len(found) > 10
    wrong = [(place, text) for place, text in found if not text or not FORM.fullmatch(text) or NO_OPENING.match(text)]
    assert wrong == []


@pytest.mark.parametrize("program", MODULES)
def test_the_list_of_commands_fits_a_line_each(program: str) -> None:
    app = import_module(MODULES[program]).app
    groups = [[], *([name] for name, one in typer.main.get_command(app).commands.items() if hasattr(one, "commands"))]  # type: ignore[attr-defined]
    for group in groups:
        listed = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "80"}).stdout
        _, _, rows = listed.partition("Commands:")
        assert len(rows.splitlines()) > 1, group
        assert "..." not in rows, group


@pytest.mark.parametrize("program", MODULES)
def test_the_same_option_has_the_same_text_everywhere(program: str) -> None:
    shared = {option: {text for place, text in help_of(program) if place.endswith(f" {option}")} for option in OPTIONS}
    assert shared == OPTIONS


READS = re.compile(r"(Show|List|Check|Attempt|Score|Print traces)\b")


@pytest.mark.parametrize("program", MODULES)
def test_every_command_that_reads_can_print_json(program: str) -> None:
    found = dict(help_of(program))
    commands = {place for place, text in found.items() if not place.split()[-1].startswith("-")}
    reading = [place for place in commands if READS.match(found[place] or "") and f"{place} --config" in found]
    assert reading
    assert [place for place in reading if f"{place} --json" not in found] == []


OPTIONS = {"--config": {"Path of the configuration. [default: config.toml]"}, "--json": {"Print JSON."}}
