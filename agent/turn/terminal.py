"""Terminal output of turns: answers on stdout as they come, calls and their results on stderr."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO

from toolkit.elapsed import Elapsed
from toolkit.printable import neutral


class Told(NamedTuple):
    """The end of a turn: one line for people, the turn in the form that programs read, and whether it has an answer."""

    summary: str
    turn: dict[str, Any]
    answered: bool


class Terminal:
    """Shows a turn. What models and tools say reaches the terminal without control characters."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._in_line = False
        self._elapsed: Elapsed | None = None

    @contextmanager
    def waiting(self, what: str = "thinking") -> Iterator[None]:
        """Show how long nothing has come, until the block ends."""
        with Elapsed(what, self._err) as self._elapsed:
            yield
        self._elapsed = None

    def token(self, text: str) -> None:
        self._in_line = not text.endswith("\n")
        if self._elapsed is not None:
            self._elapsed.hold() if self._in_line else self._elapsed.wipe()
        self._out.write(neutral(text))
        self._out.flush()

    def message(self, lines: Sequence[str] | None) -> None:
        """Show the lines of a message (``agent.turn.shown.message_lines``)."""
        if lines is not None:
            self._end_line()
            for line in lines:
                self.note(line)

    def note(self, text: str) -> None:
        """Print one line on stderr."""
        self._end_line()
        line = neutral(text).replace("\n", " ")
        if self._elapsed is not None:
            self._elapsed.wipe()
        self._err.write(f"\x1b[2m{line}\x1b[0m\n" if self._err.isatty() else f"{line}\n")
        self._err.flush()

    def _end_line(self) -> None:
        if self._in_line:
            self._out.write("\n")
            self._out.flush()
        self._in_line = False
