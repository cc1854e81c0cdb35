"""Tools: where they come from, how often they were called, how often in vain, and what was learned of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from agent.storage.statements import Statements
from dashboard.figures.traffic import WHOLE
from evolver.types import TraceVerdict
from toolkit.tool import Tool

ELSEWHERE = "of an MCP server or of a client"

_CALLS = f"""
    SELECT json_extract(call.value, '$.name'), count(*)
    FROM interactions AS turn, json_each(turn.trajectory, '$.messages') AS message,
        json_each(message.value, '$.tool_calls') AS call
    WHERE turn.id >= ? AND {WHOLE} GROUP BY 1
"""
_FAILURES = f"""
    SELECT json_extract(message.value, '$.tool_result.name'), count(*)
    FROM interactions AS turn, json_each(turn.trajectory, '$.messages') AS message
    WHERE turn.id >= ? AND {WHOLE} AND json_extract(message.value, '$.tool_result.error.kind') != 'lost' GROUP BY 1
"""


@dataclass(frozen=True)
class Used:
    """A tool with its figures; ``lessons`` are the traces with a call of it that the newest cycle kept."""

    name: str
    source: str
    description: str
    effect: str
    calls: int
    failed: int
    lessons: int


def calls(db: Statements, since_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Count the calls of each tool, and those that failed, in the turns from ``since_id`` on."""
    made, failed = (dict(db.execute(query, (since_id,)).fetchall()) for query in (_CALLS, _FAILURES))
    return made, failed


def lessons(found: Iterable[TraceVerdict]) -> Counter[str]:
    """Count the kept traces by the tools that they call."""
    return Counter(name for one in found if one.verdict.kept for name in {call.name for call in one.trace.calls})


def used(tools: Iterable[Tool], made: dict[str, int], failed: dict[str, int], taught: Counter[str]) -> list[Used]:
    """Return all tools by source and name, and what was called that is none of them."""
    known = {tool.name: tool for tool in tools}
    found = [
        Used(
            name,
            tool.source,
            tool.description,
            tool.effect.value,
            made.get(name, 0),
            failed.get(name, 0),
            taught[name],
        )
        for name, tool in known.items()
    ]
    found += [
        Used(name, ELSEWHERE, "", "", count, failed.get(name, 0), taught[name])
        for name, count in made.items()
        if name not in known
    ]
    return sorted(found, key=lambda tool: (tool.source == ELSEWHERE, tool.source, tool.name))
