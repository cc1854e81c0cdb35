"""SQL as SQLite has it, translated for Postgres."""

import pytest

from agent.storage.postgres_sql import for_postgres, values_for_postgres


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("a = ? AND b = ?", "a = %(p1)s AND b = %(p2)s"),
        ("a = ?1 OR b = ?1 AND c = ?2", "a = %(p1)s OR b = %(p1)s AND c = %(p2)s"),
        ("a = :a AND b > :after", "a = %(a)s AND b > %(after)s"),
        ("a = '?:a it''s 5%' AND a::text = :a", "a = '?:a it''s 5%%' AND a::text = %(a)s"),
        ("a % 2", "a %% 2"),
        ("content != x''", "content != ''::bytea"),
        ("FROM turns AS t INDEXED BY by_session WHERE 1", "FROM turns AS t  WHERE 1"),
    ],
)
def test_placeholders_get_names_and_texts_stay(sql: str, translated: str) -> None:
    assert for_postgres(sql).decode() == translated


def test_values_are_named_as_the_placeholders_are() -> None:
    assert values_for_postgres(["a\0", True, None]) == {"p1": "a\ufffd", "p2": 1, "p3": None}
    assert values_for_postgres({"name": b"\0"}) == {"name": b"\0"}
    assert values_for_postgres(None) == {}
