"""Names of writing SQL statements, by the rows that they write."""

import json
import re
from collections.abc import Sequence
from typing import Any

from agent.adapters.active import ActiveAdapter

VERBS = ("INSERT", "UPDATE", "DELETE")
_TABLES = ("cycles", "adapters", "releases", "lease", "settings", "evaluations", "active_adapter", "adapter_files")
_NAMED_BY = {"releases": 2, "evaluations": 2, "adapter_files": 1}
"""Which of the values of an inserted row names it; else the first."""


def written(words: Sequence[str], values: Sequence[Any] = ()) -> str:
    """What a statement writes: the table and what the row is named; of an update the first column and its value, where
    that is a word. "" for the heartbeat, which comes when it comes, and for the times of stages, which stand in a
    transaction with a write that has a name."""
    if "stage_times" in words:
        return ""
    table = next((word for word in words if word in _TABLES), "")
    if words[0] != "UPDATE":
        named = [str(values[_NAMED_BY.get(table, 0)])] if values else []
        if table == "active_adapter":
            named = [ActiveAdapter.model_validate_json(named[0]).name]
        return " ".join([words[0].lower(), table, *named])
    column = words[words.index("SET") + 1]
    if column == "renewed_at":
        return ""
    value = str(values[0]) if values else ""
    if column == "summary":
        value = list(json.loads(value))[-1]  # the key that is new
    return " ".join(["update", table, column, *re.findall(r"^\w+$", value)])
