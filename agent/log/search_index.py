"""The words of interactions, by which people search: an index of SQLite, filled by triggers, or of Postgres."""

import json
from collections.abc import Iterable

from agent.storage.postgres import PostgresStatements
from agent.storage.statements import Statements
from agent.text.words import words_of

_IN_SQLITE = "id IN (SELECT id FROM said WHERE said MATCH :words)"
_IN_POSTGRES = "id IN (SELECT id FROM said WHERE words @@ CAST(:words AS tsquery))"
_LONGEST_WORD = 256
_MOST_BYTES = 500_000
"""Words of one interaction that Postgres keeps; a tsvector holds less than 1 MiB."""


def holding(db: Statements, text: str) -> tuple[str, str]:
    """Return the condition that an interaction holds all words of ``text``, and the value of its ``:words``.

    Each word of ``text`` begins a word of what is found, in any order. The value is "" where it has no word.
    """
    if isinstance(db, PostgresStatements):
        return _IN_POSTGRES, " & ".join(f"'{word[:_LONGEST_WORD]}':*" for word in words_of(text))
    return _IN_SQLITE, search_words(text)


def search_words(text: str) -> str:
    """Return ``text`` as the words of a search in SQLite."""
    return " ".join('"' + word.replace('"', '""') + '"*' for word in text.replace("\0", " ").split())


def keep_words(db: Statements, identity: str, trajectory: str) -> None:
    """Keep the words of the messages of an interaction; ``trajectory`` is JSON. SQLite's triggers do so themselves."""
    if isinstance(db, PostgresStatements):
        said = " ".join(message["content"] for message in json.loads(trajectory)["messages"])
        db.execute(
            "INSERT INTO said (id, words) VALUES (?, array_to_tsvector(CAST(? AS text[])))", (identity, _kept(said))
        )


def _kept(said: str) -> list[str]:
    found = sorted({word[:_LONGEST_WORD] for word in words_of(said)})
    return list(_within(found, _MOST_BYTES))


def _within(words: Iterable[str], most: int) -> Iterable[str]:
    for word in words:
        most -= len(word.encode()) + 4
        if most < 0:
            return
        yield word
