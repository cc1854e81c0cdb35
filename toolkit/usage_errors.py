"""Command lines that cannot be read -> one line with the fix, in place of typer's block or pydantic's wording."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from toolkit.errors import UserError
from toolkit.near_names import did_you_mean

UsageProblem: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it cannot read; typer gives it no public name."""

_NO_COMMAND = re.compile(r"No such command '(.*?)'\..*", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")
_CHOICES = re.compile(r"is not one of (.*)", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'")
_NUMBERS = {"int": "a whole number", "float": "a number"}
_BOUNDS = {
    "greater_than_equal": ("ge", "or more"),
    "less_than_equal": ("le", "or less"),
    "greater_than": ("gt", "or more, not that itself"),
    "less_than": ("lt", "or less, not that itself"),
}


def help_was_asked(error: Exception) -> bool:
    """Return whether a group of commands was named without one, which typer answers with the help in ``error``."""
    return type(error).__name__ == "NoArgsIsHelpError"


def told(error: Any) -> UserError:
    """Return what a person is to mend in the command line that ``error`` refuses."""
    name = type(error).__name__
    if name == "MissingParameter":
        return UserError(f"{_parameter(error.param)} is missing; write: {_usage(error)}")
    if name == "BadOptionUsage":
        takes_none = "not take" in error.message
        fix = "takes no value; leave out what follows =" if takes_none else "needs a value; write it behind the option"
        return UserError(f"{error.option_name} {fix}")
    if name == "NoSuchOption":
        return _refused(error, f"there is no option {error.option_name}", near=(error.option_name, _options(error)))
    if isinstance(error, typer.BadParameter):
        return _refused(error, f"{_parameter(error.param)} {_of_value(error)}")
    return _of_words(error, error.format_message())


def _of_words(error: Any, message: str) -> UserError:
    """Return what is to mend in the words of a command line, by typer's ``message``."""
    if found := _NO_COMMAND.fullmatch(message):
        return _refused(error, f"there is no command {found[1]}", near=(found[1], _commands(error)))
    if found := _EXTRA.fullmatch(message):
        return _refused(error, f"{found[1]} is more than the command takes; put a value with spaces in quotes")
    return _refused(error, f"{message[:1].lower()}{message[1:]}".rstrip("."))


def _refused(error: Any, problem: str, *, near: tuple[str, Iterable[str]] | None = None) -> UserError:
    question = did_you_mean(*near) if near is not None else ""
    help_at = f"see: {error.ctx.command_path} --help" if error.ctx is not None else "see its --help"
    return UserError("; ".join([problem, " ".join(filter(None, [question, help_at]))]))


def _of_value(error: Any) -> str:
    """Return what a value must be, and what it is."""
    from pydantic import ValidationError  # takes as long as all else that a command imports

    cause = error.__cause__
    if choices := _CHOICES.search(error.message):
        names = _QUOTED.findall(choices[1])
        value = f", not {cause.errors()[0]['input']}" if isinstance(cause, ValidationError) else ""
        return f"must be {_listed(names)}{value}"
    if not isinstance(cause, ValidationError):
        return f"is wrong: {error.message}".rstrip(".")
    first: Mapping[str, Any] = dict(cause.errors()[0])
    kind = str(first["type"])
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"must be {first['ctx'][bound]:g} {words}, not {first['input']}"
    number = _NUMBERS.get(kind.partition("_")[0])
    return f"must be {number}, not {first['input']}" if number else f"is wrong: {first['msg']}"


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _parameter(parameter: Any) -> str:
    """Return an option as it is written, or an argument in capitals."""
    if parameter is None:
        return "the command line"
    option = next((name for name in parameter.opts if name.startswith("--")), "")
    shown = parameter.metavar or ""
    return option or (shown if shown.isalpha() else str(parameter.name).upper())


def _usage(error: Any) -> str:
    """Return the command with all that it must be given."""
    arguments = (one for one in error.cmd.params if one.param_type_name == "argument" and one.required)
    return " ".join([error.ctx.command_path, *((one.metavar or str(one.name).upper()) for one in arguments)])


def _options(error: Any) -> list[str]:
    return [name for one in error.cmd.params for name in one.opts if name.startswith("--")]


def _commands(error: Any) -> list[str]:
    return list(error.ctx.command.list_commands(error.ctx))
