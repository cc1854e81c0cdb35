"""Aligned columns: fitted to a terminal for people, one line a row everywhere else."""

import io
import sys
from collections.abc import Iterable, Sequence

_UNBOUNDED = 1_000_000
"""Columns of a line that is never wrapped."""


_SURE, _MAYBE, _NOT = "█", "▒", "·"


def bar(low: float, high: float, *, width: int = 12) -> str:
    """Return a bar for a share between ``low`` and ``high``, of 0 to 1: full up to ``low``, hatched up to ``high``."""
    middles = [(place + 0.5) / width for place in range(width)]
    return "".join(_SURE if at <= low else _MAYBE if at <= high else _NOT for at in middles)


def on_terminal() -> bool:
    """Return whether a person reads what is printed; else a row is one line without heading and bars."""
    return sys.stdout.isatty()


def table_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return ``rows`` of cells as lines of aligned columns.

    On a terminal ``columns`` are shown above them, and long cells are folded to its width. Elsewhere there is no
    heading and a row is one line, so that grep and cut can read it. Text cannot steer the terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from toolkit.tool import neutral

    terminal = on_terminal()
    table = Table(box=None, show_header=terminal, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=not terminal)
    for row in rows:
        table.add_row(*(Text(" ".join(neutral(cell).splitlines())) for cell in row))
    out = io.StringIO()
    Console(file=out, color_system=None, width=None if terminal else _UNBOUNDED).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
