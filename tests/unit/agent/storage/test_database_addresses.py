"""The address of the database in config.toml: what may stand in it."""

from pathlib import Path

import pytest

from agent.config import Config
from agent.storage import database_server
from toolkit.config import load_config
from toolkit.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://me:secret@db/log", "is no address without a password; write postgresql://USER@HOST/DATABASE"),
        ("postgresql://me:se/secret@db/log", "is no address without a password"),
        ("postgresql://me:se?secret@db/log", "is no address without a password"),
        ("postgresql://me:a secret@db/log", "is no address without a password"),
        ("postgresql://me:@db/log", "is no address without a password"),
        ("postgres+psycopg://me:secret@db/log", "is no address without a password"),
        ("host=db user=me password=secret", "is no address without a password"),
        ("mysql://db/log", "is no address without a password"),
        (
            "postgresql://db/log?password=secret",
            "holds a password; leave it out, and write the password into ~/.pgpass",
        ),
        ("postgresql://db/log?a=b#&password=secret", "is no address without a password"),
        ("postgresql://db/log?sslmode=require&SSLPassword=secret", "holds a password"),
        ("postgresql://db/log?%70assword=secret", "holds a password"),
    ],
)
def test_an_address_that_must_not_stand_in_the_file(tmp_path: Path, url: str, problem: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\ndatabase = "{url}"\n')
    with pytest.raises(ConfigError, match=problem) as raised:
        load_config(file, Config)
    assert "secret" not in str(raised.value)


def test_an_address_of_a_wrong_type_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[agent]\ndatabase = ["postgresql://me:secret@db/log"]\n')
    with pytest.raises(ConfigError, match=r"agent\.database: is no address without a password") as raised:
        load_config(file, Config)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@db.example/log?sslmode=verify-full",
        "postgres://me@one:5432,[::1]:5433/log?target_session_attrs=read-write",
        "postgresql:///log?host=/run/postgresql&passfile=/etc/apprentice/pgpass",
        "postgresql://%2Frun%2Fpostgresql/log",
        "postgresql://db:5432/log?user=me@db",
        "",
    ],
)
def test_an_address_without_a_password_may_stand_in_the_file(url: str) -> None:
    assert database_server.without_password(url) == url
