"""The kinds of open databases: what SQLite and Postgres have in common."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Statements(Protocol):
    """The database inside of a transaction. SQL is SQLite's; parameters are ``?``, ``?1`` or ``:name``."""

    def execute(self, sql: str, parameters: Any = None, /) -> Any:
        """Run one statement and return its cursor."""
        ...


class OpenDatabase(Protocol):
    """An open database that threads may share. Every failure is a StorageError of one line, with the fix."""

    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> AbstractContextManager[Statements]:
        """Run the block in one transaction: committed when the block ends, undone when it raises.

        Writers come one after the other. With "BEGIN" the block only reads, and sees one state.
        """
        ...

    def erasing(self, *tables: str) -> AbstractContextManager[Statements]:
        """Run a block that deletes from ``tables`` in one transaction, and leave no trace of it in the database."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


Steps = Sequence[tuple[str, str]]
"""A schema for Postgres: steps by name, each some statements. A step that has shipped is never edited."""

LOG_LOCK, LEDGER_LOCK = 0x61707072, 0x61707074
"""Locks of the server under which writers come one after the other: those of the log, and of ledger and pointer."""
