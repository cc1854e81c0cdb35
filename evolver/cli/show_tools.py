"""Text view of the tools that clients brought."""

import time
from collections.abc import Sequence

from evolver.store.seen_tools import SeenTool
from toolkit.tables import table_text

_COLUMNS = ("TOOL", "VERSION", "SOURCE", "KEY", "TENANT", "CALLS", "FAILED", "FIRST SEEN", "LAST SEEN", "STATE", "HASH")


def seen_tools_text(tools: Sequence[SeenTool], *, everything: bool = False) -> str:
    """Return a row per version of a tool; without ``everything`` only of those in use."""
    shown = [tool for tool in tools if everything or tool.state == "in use"]
    if not shown:
        more = f"; {len(tools)} are replaced or retired: --all" if tools else ""
        return f"no client brings tools of its own{more}"
    rows = [
        (
            tool.name,
            str(tool.version),
            tool.source,
            tool.owner or "-",
            tool.tenant or "-",
            str(tool.calls),
            str(tool.failures),
            _day(tool.first_seen),
            _day(tool.last_seen),
            tool.state,
            tool.sha256[:12],
        )
        for tool in shown
    ]
    return table_text(_COLUMNS, rows)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
