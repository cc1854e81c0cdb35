"""The comparisons of shadow mode, in a table of interactions.db. It holds names, and nothing that was said."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agent.log.migrations import migrations
from agent.log.postgres_schema import STEPS
from agent.serving.shadow.agreement import Comparison
from agent.storage.database import open_database, open_readonly
from agent.storage.statements import OpenDatabase


class Agreement(NamedTuple):
    """Counts of one tool's comparisons with one adapter. ``same_outcome``: the same arguments, or others with the same
    result. Of ``results`` calls with other arguments the client's own results say whether theirs is the same."""

    tool: str
    adapter: str
    compared: int
    same_call: int
    same_arguments: int
    results: int
    same_result: int

    @property
    def same_outcome(self) -> int:
        """Comparisons in which our call would have done what theirs did."""
        return self.same_arguments + self.same_result


class AgreementLog:
    """An open log; may be shared by threads. Raises StorageError."""

    def __init__(self, path: Path, *, database: OpenDatabase | None = None) -> None:
        self._db = database or open_database(path, migrations, STEPS)

    @classmethod
    def open_readonly(cls, path: Path) -> "AgreementLog":
        """Open the log for a reader that must not write. A log that does not exist yet reads as empty."""
        return cls(path, database=open_readonly(path, migrations, STEPS))

    def __enter__(self) -> "AgreementLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def add(self, found: Iterable[Comparison], *, adapter: str, upstream: str) -> list[int]:
        """Store comparisons in one transaction; returns their numbers."""
        now = time.time()
        with self._db.transaction() as db:
            rows = [(now, one.tool, adapter, upstream, one.same_call, one.same_arguments) for one in found]
            query = (
                "INSERT INTO shadow_comparisons (created_at, tool, adapter, upstream, same_call, same_arguments) "
                "VALUES (?, ?, ?, ?, ?, ?) RETURNING number"
            )
            return [db.execute(query, row).fetchone()[0] for row in rows]

    def note_result(self, number: int, *, same: bool) -> None:
        """Note whether our call of a comparison has the same result as theirs."""
        with self._db.transaction() as db:
            db.execute("UPDATE shadow_comparisons SET same_result = ? WHERE number = ?", (same, number))

    def agreements(self, adapters: Iterable[str] | None = None) -> list[Agreement]:
        """Return the counts of each tool and adapter, the most compared first; of these adapters alone, if given."""
        where = "" if adapters is None else "WHERE adapter IN (SELECT value FROM json_each(?))"
        query = (
            "SELECT tool, adapter, count(*), sum(same_call), sum(same_arguments), "
            "count(same_result), coalesce(sum(same_result), 0) "
            f"FROM shadow_comparisons {where} GROUP BY tool, adapter ORDER BY count(*) DESC, tool, adapter"
        )
        values = () if adapters is None else (json.dumps(list(adapters)),)
        with self._db.transaction("BEGIN") as db:
            return [Agreement(*row) for row in db.execute(query, values).fetchall()]
