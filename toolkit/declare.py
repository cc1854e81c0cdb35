"""The mark that makes a function a tool.

Standard library only: tool modules import it, and the sandbox worker imports tool modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])


class Effect(StrEnum):
    """Effect of a call on the world; it decides what the evolver may execute."""

    PURE = "pure"
    """Same arguments, same result, nothing changed."""
    READS = "reads"
    """Reads something outside the sandbox that changes over time (clock, web, files)."""
    WRITES = "writes"
    """Changes state. ``Tool.sandbox_state`` says whether that state lives wholly in the sandbox's workspace."""


@dataclass(frozen=True, slots=True)
class Known:
    """Mark in ``Annotated[str, Known(...)]``: texts or numbers that a parameter can be given in a fresh workspace.

    Others may be right too, once there are more records. The model is not told of them.
    """

    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    """Mark that ``@tool`` leaves on a function, as ``__tool__``."""

    effect: Effect
    sandbox_state: bool


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, effect: str = "writes", sandbox_state: bool = False) -> Callable[[F], F]: ...
def tool(function: F | None = None, /, *, effect: str = "writes", sandbox_state: bool = False) -> F | Callable[[F], F]:
    """Mark a typed function as a tool; an undeclared effect is ``writes``.

    ``sandbox_state=True`` says that all it writes or reads is the sandbox's own: its workspace, clock and chance.
    Raises ValueError for an unknown effect.
    """
    if effect not in set(Effect):
        raise ValueError(f"effect {effect!r} is none of {', '.join(Effect)}")
    declaration = Declaration(effect=Effect(effect), sandbox_state=sandbox_state)

    def mark(marked: F) -> F:
        marked.__tool__ = declaration  # pyright: ignore[reportFunctionMemberAccess]
        return marked

    return mark if function is None else mark(function)


def declaration_of(function: object) -> Declaration | None:
    """Return the mark of ``@tool`` on ``function``; None where it has none."""
    found = getattr(function, "__tool__", None)
    return found if isinstance(found, Declaration) else None
