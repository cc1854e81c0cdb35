"""A SQLite database of a small shop: customers, products and sales."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from toolkit.builtin.workspace_data import choose, listed
from toolkit.declare import Known, tool

_SHIPPED = Path(__file__).with_name("data") / "database.sql"
_FILE = Path("records") / "database.sqlite"
_MOST = 5
_Query = Annotated[
    str,
    Known(
        (
            "SELECT name FROM customers",
            "SELECT COUNT(*) FROM sales",
            "SELECT name, price FROM products WHERE price > 80",
            "SELECT MAX(price) FROM products",
            "SELECT name FROM customers WHERE city = 'Norvale'",
            "SELECT category, AVG(price) FROM products GROUP BY category",
            "SELECT SUM(quantity) FROM sales WHERE product_id = 3",
        )
    ),
]
_Table = Annotated[str, Known(("customers", "products", "sales"))]


@contextmanager
def _database(*, change: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the workspace's database; the shipped one, in memory, where nothing was changed yet.

    A failure of the database is a ValueError, and nothing is changed then.
    """
    begun = _FILE.is_file()
    if change:
        _FILE.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(_FILE if begun or change else ":memory:")
    try:
        if not begun:
            connection.executescript(_SHIPPED.read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA query_only = {'OFF' if change else 'ON'}")
        with connection:
            yield connection
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise ValueError(f"the database says: {error}"[:200]) from None
    finally:
        connection.close()


def _table(connection: sqlite3.Connection, name: str) -> tuple[str, dict[str, str]]:
    """Return the table's own name, and its columns with their types."""
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    table = choose(tables, name, "table in the database called")
    columns = connection.execute("SELECT name, lower(type) FROM pragma_table_info(?)", [table])
    return table, dict(columns.fetchall())


@tool(effect="writes", sandbox_state=True)
def describe_database_table(table: _Table) -> dict[str, str]:
    """Tell the columns of a table in the shop's SQL database, with their types.

    Args:
        table: Name of the table: customers, products or sales.
    """
    with _database() as connection:
        return _table(connection, table)[1]


@tool(effect="writes", sandbox_state=True)
def run_sql_query(query: _Query) -> list[str]:
    """Run a SQL query on the shop's database with the tables customers, products and sales.

    Args:
        query: One SELECT statement in the dialect of SQLite.
    """
    with _database() as connection:
        cursor = connection.execute(query)
        if cursor.description is None:
            raise ValueError("the query returns no rows; begin it with SELECT")
        rows = cursor.fetchmany(_MOST + 1)
    lines = [", ".join(map(str, row))[:80] for row in rows[:_MOST]]
    return [*lines, "and more"] if len(rows) > _MOST else lines


@tool(effect="writes", sandbox_state=True)
def insert_database_row(table: _Table, values: list[str]) -> str:
    """Insert a row into a table of the shop's SQL database; its id is given to it.

    Args:
        table: Name of the table: customers, products or sales.
        values: The values of all columns but the id, in their order.
    """
    with _database(change=True) as connection:
        name, columns = _table(connection, table)
        if len(values) != len(columns) - 1:
            raise ValueError(f"{name} needs {listed(list(columns)[1:])}; give a value for each")
        marks = ", ".join("?" * len(values))
        cursor = connection.execute(f"INSERT INTO {name} VALUES (NULL, {marks})", values)
    return f"inserted row {cursor.lastrowid} into {name}"


@tool(effect="writes", sandbox_state=True)
def delete_database_row(table: _Table, row_id: int) -> str:
    """Delete a row of a table in the shop's SQL database.

    Args:
        table: Name of the table: customers, products or sales.
        row_id: The id of the row.
    """
    with _database(change=True) as connection:
        name, _ = _table(connection, table)
        if not connection.execute(f"DELETE FROM {name} WHERE id = ?", [row_id]).rowcount:
            raise ValueError(f"{name} has no row with the id {row_id}; run a query to see its rows")
    return f"deleted row {row_id} of {name}"
