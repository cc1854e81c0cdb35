"""Parts of the three commands: shared options, JSON output, shell completion, and exit codes."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.exit_codes import with_exit_codes
from toolkit.usage_errors import UsageProblem, help_was_asked, told

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="PATH", help="Path of the configuration. [default: config.toml]", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COMMANDS = ("agent", "evolver", "toolkit")


def print_json(value: Any) -> None:
    """Print ``value`` on stdout, in ASCII: text from outside may hold what steers a terminal."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))


def check_state(ok: bool, warning: bool) -> str:
    """Return the word for a finding in a list of checks."""
    return "PROBLEM" if not ok else "WARNING" if warning else "ok"


def completion_script(shell: str) -> str:
    """Return the lines with which ``shell`` (bash, zsh or fish) completes the three commands."""
    from typer.completion import get_completion_script  # pyright: ignore[reportPrivateImportUsage]

    scripts = [
        get_completion_script(prog_name=name, complete_var=_completion_variable(name), shell=shell) for name in COMMANDS
    ]
    return "\n".join(scripts)


def _completion_variable(name: str) -> str:
    """Return the environment variable by which a shell asks the command ``name`` for completions."""
    return f"_{name.upper()}_COMPLETE"


def run_command(app: typer.Typer, name: str, *, also_users: tuple[type[Exception], ...] = ()) -> None:
    """Run ``app`` and end: 0 done, 1 a failed run or a bug, 2 something for the user to mend, in one line on stderr,
    130 interrupted.

    ``also_users``: errors of the command's own that are for the user to mend.
    """
    if _completion_variable(name) in os.environ:
        from typer.completion import completion_init  # pyright: ignore[reportPrivateImportUsage]

        completion_init()  # the forms in which the shells of completion_script read completions
    ended = with_exit_codes(lambda: _with_one_line(app, name), name, also_users=also_users)
    sys.exit(ended)


def _with_one_line(app: typer.Typer, name: str) -> int:
    """Run ``app`` as the command ``name`` and return its exit code.

    Raises UserError for a command line that cannot be read.
    """
    try:
        ended = app(prog_name=name, standalone_mode=False)
        return ended if isinstance(ended, int) else 0
    except UsageProblem as error:
        if help_was_asked(error):
            typer.echo(str(error), err=True)
            return 2
        raise told(error) from error
