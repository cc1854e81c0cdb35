"""Tables of a workspace, kept as CSV."""

import csv
import io
from typing import Annotated, Literal

from toolkit.builtin.rounding import neat
from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load
from toolkit.declare import Known, tool

_FAMILY = "tables"
_Table = Annotated[str, known(_FAMILY, "tables")]
_Column = Annotated[str, Known(("customer", "city", "month", "amount"))]
_Value = Annotated[
    str, Known(("Aisha Khan", "Marco Silva", "Leeds", "Lisbon", "Hamburg", "January", "March", "100", "30"))
]
_MOST = 5
Row = dict[str, str]


def _read(table: Record) -> list[Row]:
    return list(csv.DictReader(io.StringIO(table["csv"])))


def _rows(name: str) -> tuple[str, list[Row]]:
    table = find(load(_FAMILY)["tables"], name, "table")
    return table["name"], _read(table)


def _column(table: str, rows: list[Row], column: str) -> str:
    return choose(rows[0], column, f"column in {table} called")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shown(rows: list[list[str]]) -> list[str]:
    lines = [", ".join(row) for row in rows[:_MOST]]
    return [*lines, f"and {len(rows) - _MOST} more"] if len(rows) > _MOST else lines


def _numbers(table: str, rows: list[Row], column: str) -> list[float]:
    found = [number for row in rows if (number := _number(row[column])) is not None]
    if len(found) < len(rows):
        raise ValueError(f"the column {column} of {table} holds texts; choose one with numbers")
    return found


@tool(effect="writes", sandbox_state=True)
def describe_table(table: _Table) -> dict[str, int | list[str]]:
    """Tell the columns of a CSV table and the number of its rows.

    Args:
        table: Name of the table.
    """
    _, rows = _rows(table)
    return {"columns": list(rows[0]), "rows": len(rows)}


@tool(effect="writes", sandbox_state=True)
def filter_table(
    table: _Table,
    column: _Column,
    value: _Value,
    comparison: Literal["equals", "above", "below", "contains"] = "equals",
) -> list[str]:
    """Find the rows of a CSV table by the value in one column.

    Args:
        table: Name of the table.
        column: Column that is compared.
        value: Value with which it is compared.
        comparison: How it is compared.
    """
    name, rows = _rows(table)
    key = _column(name, rows, column)
    if comparison in ("equals", "contains"):
        wanted = value.strip().casefold()
        found = [
            r for r in rows if wanted == r[key].casefold() or (comparison == "contains" and wanted in r[key].casefold())
        ]
    else:
        numbers, bound = _numbers(name, rows, key), _number(value)
        if bound is None:
            raise ValueError(f"value {value!r} is no number; {comparison} needs one")
        found = [r for r, n in zip(rows, numbers, strict=True) if (n > bound if comparison == "above" else n < bound)]
    if not found:
        raise ValueError(f"no row of {name} has such a {key}; try another value")
    return _shown([list(row.values()) for row in found])


@tool(effect="writes", sandbox_state=True)
def group_table(
    table: _Table, group_by: _Column, column: _Column, measure: Literal["sum", "average", "highest", "lowest"] = "sum"
) -> dict[str, float]:
    """Group the rows of a CSV table by one column and sum or average another one.

    Args:
        table: Name of the table.
        group_by: Column whose equal values make a group.
        column: Column with the numbers.
        measure: What is computed of each group.
    """
    name, rows = _rows(table)
    by, of = _column(name, rows, group_by), _column(name, rows, column)
    groups: dict[str, list[float]] = {}
    for row, number in zip(rows, _numbers(name, rows, of), strict=True):
        groups.setdefault(row[by], []).append(number)
    compute = {"sum": sum, "average": lambda found: sum(found) / len(found), "highest": max, "lowest": min}[measure]
    return {group: neat(float(compute(found)), 6) for group, found in groups.items()}


@tool(effect="writes", sandbox_state=True)
def sort_table(
    table: _Table, column: _Column, order: Literal["ascending", "descending"] = "ascending", rows: int = 3
) -> list[str]:
    """Show the first rows of a CSV table, sorted by a column.

    Args:
        table: Name of the table.
        column: Column by which to sort.
        order: Order of the values.
        rows: Number of rows to show, at most 5.
    """
    if not 1 <= rows <= _MOST:
        raise ValueError(f"rows must be between 1 and {_MOST}")
    name, found = _rows(table)
    key = _column(name, found, column)
    found.sort(key=lambda row: (_number(row[key]) or 0.0, row[key]), reverse=order == "descending")
    return _shown([list(row.values()) for row in found[:rows]])


@tool(effect="writes", sandbox_state=True)
def join_tables(left_table: _Table, right_table: _Table, on: _Column) -> list[str]:
    """Join the rows of two CSV tables that have the same value in a column.

    Args:
        left_table: Name of the first table.
        right_table: Name of the second table.
        on: Column that both have.
    """
    (left, left_rows), (right, right_rows) = _rows(left_table), _rows(right_table)
    if left == right:
        raise ValueError("left_table and right_table are the same; name two tables")
    key, other = _column(left, left_rows, on), _column(right, right_rows, on)
    joined = [
        [*row.values(), *(value for name, value in match.items() if name != other)]
        for row in left_rows
        for match in right_rows
        if row[key] == match[other]
    ]
    return _shown(joined)


@tool(effect="writes", sandbox_state=True)
def append_row(table: _Table, values: list[str]) -> str:
    """Append a row to a CSV table.

    Args:
        table: Name of the table.
        values: The values in the order of the columns.
    """
    with changing(_FAMILY) as data:
        found = find(data["tables"], table, "table")
        columns = list(_read(found)[0])
        if len(values) != len(columns):
            raise ValueError(f"{found['name']} has the columns {', '.join(columns)}; give a value for each")
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        found["csv"] += line.getvalue()
    return f"{found['name']} has {len(_read(found))} rows"
