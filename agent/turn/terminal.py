"""Terminal output of turns: answers on stdout as they come, calls and their results on stderr."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from agent.turn.call_check import CallCheck
from agent.turn.messages import Message, Trajectory
from toolkit.elapsed import Elapsed
from toolkit.tool import ToolCall, neutral, render_result

_SHOWN_CHARACTERS = 400


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

    def message(self, message: Message) -> None:
        if message.role == "assistant":
            self._end_line()
            for call in message.tool_calls:
                self.note(f"→ {show_call(call)}")
        elif message.tool_result is not None:
            self.note(f"← {short(render_result(message.tool_result))}")

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


def show_call(call: ToolCall) -> str:
    if call.arguments is None:
        return short(f"{call.name or 'a call'} that does not parse: {call.raw}")
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return short(f"{call.name}({arguments})")


def show_check(found: CallCheck) -> str:
    """Return the findings about a call in one line."""
    if found.unfounded:
        return f"not run: {show_call(found.call)}; the request says nothing of {', '.join(found.unfounded)}"
    return f"left out of {found.call.name}: {', '.join(found.dropped)}; nobody asked for it"


def summary(identity: str, trajectory: Trajectory) -> str:
    how = "" if trajectory.stop_reason == "answered" else f", stopped: {trajectory.stop_reason.replace('_', ' ')}"
    error = f" ({trajectory.error})" if trajectory.error else ""
    return f"{identity}, {trajectory.adapter}, {trajectory.latency_ms / 1000:.1f} s{how}{error}"


def short(text: str) -> str:
    """Return ``text``, cut where it is too long to be shown."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
