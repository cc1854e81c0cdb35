"""Commands inside a conversation: lines such as ``/why``, which no model sees."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from agent.adapters.active import ActiveAdapter
from agent.chat.command_list import COMMANDS, NamedTool
from agent.log.session import Session
from agent.turn.messages import BASE, Interaction, Trajectory
from agent.turn.shown import short, show_call
from toolkit.errors import UserError

_LINE = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
_NOTHING_YET = "nothing was said yet in this conversation"
_KEYS = "Ctrl-C ends an answer, Ctrl-D the conversation; the arrow keys recall earlier requests"


class ChatCommands:
    """The commands of one conversation.

    ``tools`` are all that there are; ``active`` reads the pointer to the active adapter; ``dashboard`` is the address
    of the dashboard. ``learned`` tells what an adapter learned about tools.
    """

    def __init__(
        self,
        session: Session,
        tools: Sequence[NamedTool],
        active: Callable[[], ActiveAdapter],
        dashboard: str,
        learned: Callable[[str, Sequence[str]], Iterable[str]] = lambda _, __: (),
    ) -> None:
        self._session = session
        self._tools = tools
        self._active = active
        self._dashboard = dashboard
        self._learned = learned

    def answer(self, line: str) -> list[str] | None:
        """Return the lines that answer a command; None where ``line`` is a message. Raises UserError."""
        found = _LINE.fullmatch(line.strip())
        if found is None:
            return None
        name, words = found[1], (found[2] or "").strip()
        if name not in COMMANDS:
            raise UserError(f"/{name} is no command; see /help")
        if name in ("good", "bad"):
            return self._rate("good" if name == "good" else "bad", words)
        if words:
            raise UserError(f"/{name} takes no words after it; to send this as a message, put a space before the slash")
        return {"help": self._help, "tools": self._list_tools, "why": self._why}[name]()

    def _help(self) -> list[str]:
        width = max(len(command.form) for command in COMMANDS.values())
        return [*(f"{command.form:<{width}}  {command.effect}" for command in COMMANDS.values()), _KEYS]

    def _list_tools(self) -> list[str]:
        sources = dict.fromkeys(tool.source for tool in self._tools)
        lines = []
        for source in sources:
            names = [tool.name for tool in self._tools if tool.source == source]
            lines.append(f"{source}: {len(names)} tools: {short(', '.join(names))}")
        last = self._session.last()
        shown = ", ".join(last.trajectory.tools) or "none" if last else _NOTHING_YET
        return [*lines, f"shown in the last turn: {shown}", "with parameters and effects: toolkit list"]

    def _rate(self, verdict: Literal["good", "bad"], note: str) -> list[str]:
        last = self._last()
        self._session.feedback(last.id, verdict, note)
        said = [f"noted: {last.id} was {verdict}"]
        if verdict == "bad":
            said.append(f"to say what would have been right: agent feedback {last.id} bad --expected TEXT")
        return said

    def _why(self) -> list[str]:
        last = self._last()
        turn = last.trajectory
        names = ", ".join(turn.tools) or "none"
        calls = [f"called   {show_call(call)}" for call in turn.calls] or ["called   nothing"]
        return [
            f"request  {short(turn.messages[0].content)}",
            f"shown    {names}: the best matches of {len(self._tools)} tools for the request",
            *calls,
            f"ended    {turn.stop_reason.replace('_', ' ')}{f': {turn.error}' if turn.error else ''}",
            f"adapter  {turn.adapter}: {'; '.join(_standing(turn.adapter, self._active()))}",
            *(f"said     {word.verdict}{f': {word.note}' if word.note else ''}" for word in last.feedback),
            *(f"learned  {line}" for line in self._learned(turn.adapter, _names(turn))),
            f"more     {self._dashboard}/conversations/{last.id}, or all cycles with: evolver history",
        ]

    def _last(self) -> Interaction:
        last = self._session.last()
        if last is None:
            raise UserError(f"{_NOTHING_YET}; say something first")
        return last


def _names(turn: Trajectory) -> list[str]:
    """Return the tools that were called, or where none was, those that were shown."""
    return list(dict.fromkeys(call.name for call in turn.calls)) or list(turn.tools)


def _standing(adapter: str, pointer: ActiveAdapter) -> Iterator[str]:
    """Yield why ``adapter`` answers, or that it does no longer."""
    if pointer.canary is not None and pointer.canary.name == adapter:
        yield f"on trial with {pointer.canary.share:.0%} of the sessions"
    elif pointer.name != adapter:
        yield f"it answered then; {pointer.name} is active now"
    elif pointer.change is not None:
        cycle = f" {pointer.change.cycle}" if pointer.change.cycle else ""
        yield f"active in place of {pointer.change.previous} by a {pointer.change.by}{cycle}: {pointer.change.reason}"
    elif adapter == BASE:
        yield "the model without an adapter; none was promoted yet"
    else:
        yield "active"
