"""Tools that clients bring in their requests: a table of the ledger, kept up with the interaction log.

A tool belongs to the API key that brought it. One whose parameters changed is a further version. Answering costs
nothing for it: the evolver reads each interaction once, later (docs/decisions/0102).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agent.log.entries import COMPLETIONS_SOURCE, OWN_SOURCES
from agent.log.interaction_log import FILE, InteractionLog
from agent.log.queries import ToolUse
from agent.storage.statements import Statements
from evolver.store.ledger import Ledger
from evolver.text.logged_results import says_failure
from evolver.types import Frozen
from toolkit.tool import ToolErrorKind

RETIRED_DAYS = 30.0
"""A tool that was not brought for so long is retired."""
_UP_TO = "tools_seen_up_to"
"""The setting with the last interaction that was read."""
_PAGE = 500
"""Interactions per transaction."""
_MOST_OF_AN_OWNER = 2000
"""Versions of tools from one source of one owner; who sends more is not followed further."""
_LONGEST = 1 << 16
"""Characters of a tool; longer ones are left out."""
_DAY = 86400.0

State = Literal["in use", "replaced", "retired"]


class ToolKey(NamedTuple):
    """The identity of a version of a tool."""

    source: str
    tenant: str
    owner: str
    name: str
    sha256: str


class SeenTool(Frozen):
    """One version of a tool, with its figures. Times in seconds since the epoch, UTC.

    ``sha256`` is of its name and parameters, ``last_id`` the newest interaction that showed it. ``turns`` counts the
    interactions that showed it; ``failures`` are calls with an error, or whose result says that they failed.
    """

    source: str
    tenant: str
    owner: str
    name: str
    sha256: str
    version: int
    description: str
    parameters: dict[str, Any]
    first_seen: float
    last_seen: float
    last_id: str
    turns: int
    calls: int
    failures: int
    state: State


_KEY = "source = ? AND tenant = ? AND owner = ? AND name = ? AND sha256 = ?"
_COLUMNS = [name for name in SeenTool.model_fields if name not in ("description", "parameters", "state")]


class ToolCatalogue:
    """The tools that clients brought, in one data folder's ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def refresh(self, log: InteractionLog) -> int:
        """Read what the log has gained, and return the number of interactions with tools among it.

        Each page is a transaction: two processes at once count nothing twice.
        """
        _, until = log.count()
        total = 0
        while True:
            with self._ledger.together() as db:
                page = log.tool_use(after=self._ledger.setting(_UP_TO), until=until, limit=_PAGE)
                _add(db, page)
                if read_to := page[-1].id if len(page) == _PAGE else until:
                    self._ledger.put_setting(_UP_TO, max(read_to, self._ledger.setting(_UP_TO)))
            total += len(page)
            if len(page) < _PAGE:
                return total

    def tools(self) -> list[SeenTool]:
        """Return all versions of all tools, by source, tenant, owner and name, the oldest version first."""
        order = "source, tenant, owner, name, version"
        with self._ledger.reading() as db:
            rows = db.execute(f"SELECT {', '.join(_COLUMNS)}, tool FROM seen_tools ORDER BY {order}").fetchall()
        found = [{**dict(zip(_COLUMNS, row, strict=False)), **json.loads(row[-1])} for row in rows]
        newest = {_identity(one): one for one in found}
        now = self._ledger.now()
        return [SeenTool.model_validate({**one, "state": _state(one, newest[_identity(one)], now)}) for one in found]

    def forget(self, log: InteractionLog, ids: Collection[str]) -> list[str]:
        """Take interactions that are still in the log out of the figures; return the tools that nothing else showed,
        which are gone. Of tools that they showed last, the text is that of the newest interaction that is left."""
        with self._ledger.together() as db:
            read = {one for one in ids if one <= self._ledger.setting(_UP_TO)}
            for identity in read:
                near = log.tool_use(after=identity[:-1], until=identity, limit=_PAGE)
                _add(db, [one for one in near if one.id == identity], sign=-1)
            gone = [row[0] for row in db.execute("SELECT name FROM seen_tools WHERE turns <= 0").fetchall()]
            db.execute("DELETE FROM seen_tools WHERE turns <= 0")
            _show_as_before(db, log, read)
        return gone


def refreshed(data_folder: Path, ledger: Ledger) -> list[SeenTool]:
    """Bring the catalogue of a data folder up to its log, and return what it has. Raises StorageError."""
    catalogue = ToolCatalogue(ledger)
    with InteractionLog.open_readonly(data_folder / FILE) as log:
        catalogue.refresh(log)
    return catalogue.tools()


def signature(name: str, parameters: Any) -> str:
    """Return the hash of a tool's name and parameters; the order of keys does not count."""
    return hashlib.sha256(json.dumps([name, parameters], sort_keys=True).encode()).hexdigest()


def _identity(tool: dict[str, Any]) -> tuple[str, ...]:
    return tool["source"], tool["tenant"], tool["owner"], tool["name"]


def _state(tool: dict[str, Any], newest: dict[str, Any], now: float) -> State:
    if tool["version"] < newest["version"] and tool["last_seen"] <= newest["first_seen"]:
        return "replaced"
    return "retired" if tool["last_seen"] < now - RETIRED_DAYS * _DAY else "in use"


def _add(db: Statements, page: Iterable[ToolUse], *, sign: int = 1) -> None:
    """Add the interactions of ``page`` to the figures, or with a ``sign`` of -1 take them out."""
    figures: dict[ToolKey, list[int]] = {}
    newest: dict[ToolKey, tuple[ToolUse, str]] = {}
    first: dict[ToolKey, float] = {}
    for one in page:
        if one.source in OWN_SOURCES or one.source == COMPLETIONS_SOURCE:
            continue
        shown = {}
        for name, sha256, text in _tools(one.tool_schemas):
            key = shown[name] = ToolKey(one.source, one.tenant, one.owner, name, sha256)
            newest[key] = one, text
            first.setdefault(key, one.created_at)
            figures.setdefault(key, [0, 0, 0])[0] += 1
        for name, failed in _calls(one):
            if name in shown:
                figures[shown[name]][2 if failed else 1] += 1
    for key, counts in figures.items():
        turns, calls, failures = (sign * count for count in counts)
        _count(db, key, (turns, calls, failures))
        if sign > 0:
            one, text = newest[key]
            _see(db, key, first[key], one, text, (turns, calls, failures))


def _show_as_before(db: Statements, log: InteractionLog, ids: Collection[str]) -> None:
    """Give the tools that these interactions showed last the text of the newest other one before them; where the log
    has none, no description."""
    query = f"SELECT last_id, {', '.join(ToolKey._fields)}, tool FROM seen_tools WHERE last_id = ?"
    rows = [row for one in ids for row in db.execute(query, (one,)).fetchall()]
    left = {ToolKey(*row[1:-1]): row[-1] for row in rows}
    until = max((row[0] for row in rows), default="")
    while left and until:
        after = log.back(_PAGE, from_id=until)
        for one in reversed(log.tool_use(after=after, until=until, limit=_PAGE)):
            for name, sha256, text in _tools(one.tool_schemas) if one.id not in ids else ():
                key = ToolKey(one.source, one.tenant, one.owner, name, sha256)
                if left.pop(key, None) is not None:
                    _see(db, key, one.created_at, one, text, (0, 0, 0))
        until = after
    for key, text in left.items():
        blank = json.dumps({**json.loads(text), "description": ""})
        db.execute(f"UPDATE seen_tools SET tool = ?, last_id = '' WHERE {_KEY}", (blank, *key))


def _count(db: Statements, key: ToolKey, figures: tuple[int, int, int]) -> None:
    turns, calls, failures = figures
    rises = "CASE WHEN {0} + ? > 0 THEN {0} + ? ELSE 0 END".format
    changed = f"turns = turns + ?, calls = {rises('calls')}, failures = {rises('failures')}"
    db.execute(f"UPDATE seen_tools SET {changed} WHERE {_KEY}", (turns, calls, calls, failures, failures, *key))


def _see(db: Statements, key: ToolKey, first: float, newest: ToolUse, text: str, figures: tuple[int, int, int]) -> None:
    """Note when a tool was seen last; insert it, with its ``figures``, where it is new."""
    mine = "source = ? AND tenant = ? AND owner = ?"
    update = f"UPDATE seen_tools SET last_seen = ?, last_id = ?, tool = ? WHERE {mine} AND name = ? AND sha256 = ?"
    if db.execute(update, (newest.created_at, newest.id, text, *key)).rowcount:
        return
    count, version = db.execute(
        f"SELECT count(*), coalesce(max(version) FILTER (WHERE name = ?), 0) FROM seen_tools WHERE {mine}",
        (key.name, *key[:3]),
    ).fetchone()
    if count < _MOST_OF_AN_OWNER:
        row = (*key, version + 1, text, first, newest.created_at, newest.id, *figures)
        db.execute(f"INSERT INTO seen_tools VALUES ({', '.join('?' * len(row))})", row)


@lru_cache(maxsize=64)
def _tools(tool_schemas: str) -> Sequence[tuple[str, str, str]]:
    """Return name, hash, and description with parameters as JSON, of each function; a client sends the same again."""
    found = []
    for one in json.loads(tool_schemas):
        function = one.get("function") if isinstance(one, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            continue
        parameters = function.get("parameters") or {}
        text = json.dumps({"description": str(function.get("description") or ""), "parameters": parameters})
        if len(text) <= _LONGEST and isinstance(parameters, dict):
            found.append((name, signature(name, parameters), text))
    return found


def _calls(one: ToolUse) -> Iterator[tuple[str, bool]]:
    """Yield a pair for each call that is new in an interaction (its name, False) and for each new failure (name, True).

    An interaction that continues another repeats the messages of that one.
    """
    messages: list[dict[str, Any]] = json.loads(one.messages)
    if one.continues:
        asked = [n for n, message in enumerate(messages[:-1]) if message["role"] == "assistant"]
        messages = messages[asked[-1] + 1 :] if asked else messages
    for message in messages:
        for call in message.get("tool_calls") or ():
            yield call["name"], False
        result = message.get("tool_result")
        if result is not None and _failed(result):
            yield result["name"], True


def _failed(result: dict[str, Any]) -> bool:
    error = result.get("error")
    if error is not None:
        return error["kind"] != ToolErrorKind.LOST
    return says_failure(result.get("value"))
