"""API keys: made, hashed, limited, revoked."""

import json
import sys
import threading
from pathlib import Path

import pytest

from agent.cli import main
from agent.config import GatewayConfig
from agent.errors import StorageError
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.access.auth import Access, Caller, Refused, allowed_hosts
from toolkit.errors import UserError

OWN = api_keys.new_key()


def access(data: Path, **config: object) -> Access:
    return Access(data, GatewayConfig.model_validate(config), OWN)


def status(found: Caller | Refused) -> int:
    return found.status if isinstance(found, Refused) else 200


def test_only_the_hash_is_kept_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    key = api_keys.create(tmp_path, "shop", ["chat"], "acme")
    text = api_keys.path(tmp_path).read_text()
    assert key not in text
    assert key.removeprefix(api_keys.PREFIX) not in text
    assert api_keys.path(tmp_path).stat().st_mode & 0o777 == 0o600
    (kept,) = api_keys.read(tmp_path)
    assert (kept.name, kept.sha256, kept.scopes, kept.tenant) == ("shop", api_keys.sha256(key), ("chat",), "acme")


def test_names_are_never_used_twice(tmp_path: Path) -> None:
    api_keys.create(tmp_path, "shop", ["chat"])
    for _ in range(2):
        with pytest.raises(UserError, match="there is, or was, a key shop"):
            api_keys.create(tmp_path, "shop", ["chat"])
        if api_keys.read(tmp_path)[0].revoked_at is None:
            api_keys.revoke(tmp_path, "shop")
    for name in ("", "a b", "../x", "x" * 65):
        with pytest.raises(UserError, match="is no name of a key"):
            api_keys.create(tmp_path, name, ["chat"])
    with pytest.raises(UserError, match="there is no key shop to revoke"):
        api_keys.revoke(tmp_path, "shop")


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    threads = [threading.Thread(target=api_keys.create, args=(tmp_path, f"k{n}", ["chat"])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in api_keys.read(tmp_path)} == {f"k{n}" for n in range(8)}


def test_loopback_is_open_to_any_key_but_not_to_a_wrong_one_of_ours(tmp_path: Path) -> None:
    door = access(tmp_path)
    for header in ("", "Bearer none", "Bearer sk-whatever", "Basic abc"):
        assert door.check(header, "chat") == Caller(limited=True)
    assert status(door.check(f"Bearer {api_keys.new_key()}", "chat")) == 401


@pytest.mark.parametrize("config", [{"require_key": True}, {"host": "0.0.0.0"}])
def test_elsewhere_a_key_is_needed(tmp_path: Path, config: dict[str, object]) -> None:
    door = access(tmp_path, **config)
    key = api_keys.create(tmp_path, "shop", ["chat"], "acme")
    assert status(door.check("", "chat")) == 401
    assert status(door.check("Bearer none", "chat")) == 401
    found = door.check(f"Bearer {key}", "chat")
    assert isinstance(found, Caller)
    assert (found.name, found.tenant) == ("shop", "acme")
    assert status(door.check(f"bearer  {key}", "chat")) == 200
    assert status(door.check(f"Bearer {OWN}", "admin")) == 200


def test_scopes(tmp_path: Path) -> None:
    door = access(tmp_path, require_key=True)
    keys = {scope: api_keys.create(tmp_path, scope, [scope]) for scope in api_keys.SCOPES}
    allowed = {(s, t) for s in keys for t in api_keys.SCOPES if status(door.check(f"Bearer {keys[s]}", t)) == 200}
    own = {(scope, scope) for scope in ("chat", "feedback", "read")}
    assert allowed == own | {("admin", scope) for scope in api_keys.SCOPES}
    refused = door.check(f"Bearer {keys['chat']}", "admin")
    assert isinstance(refused, Refused)
    assert (refused.status, refused.message) == (403, "the key chat may not do this: it lacks the scope admin")


def test_a_key_ends_at_once(tmp_path: Path) -> None:
    door = access(tmp_path)
    key = api_keys.create(tmp_path, "shop", ["chat"])
    assert status(door.check(f"Bearer {key}", "chat")) == 200
    api_keys.revoke(tmp_path, "shop")
    assert status(door.check(f"Bearer {key}", "chat")) == 401


def test_a_damaged_file_opens_no_door(tmp_path: Path) -> None:
    key = api_keys.create(tmp_path, "shop", ["chat"])
    api_keys.path(tmp_path).write_text("{")
    with pytest.raises(StorageError, match="is damaged; restore it"):
        access(tmp_path).check(f"Bearer {key}", "chat")


def test_each_key_has_its_own_rate(tmp_path: Path) -> None:
    now = [100.0]
    door = Access(tmp_path, GatewayConfig(requests_per_minute=3), OWN, clock=lambda: now[0])
    first, second = (f"Bearer {api_keys.create(tmp_path, name, ['chat'])}" for name in ("a", "b"))
    assert [status(door.check(first, "chat")) for _ in range(4)] == [200, 200, 200, 429]
    assert status(door.check(second, "chat")) == 200
    refused = door.check(first, "chat")
    assert isinstance(refused, Refused)
    assert refused.retry_seconds == pytest.approx(20)
    now[0] += 20.1
    assert [status(door.check(first, "chat")) for _ in range(2)] == [200, 429]
    assert [status(door.check(f"Bearer {OWN}", "chat")) for _ in range(10)] == [200] * 10


def test_people_without_a_key_share_one_rate(tmp_path: Path) -> None:
    door = access(tmp_path, requests_per_minute=3)
    assert [status(door.check(header, "chat")) for header in ("", "Bearer none", "Basic abc")] == [200] * 3
    refused = door.check("Bearer another", "chat")
    assert isinstance(refused, Refused)
    assert (refused.status, refused.message) == (429, "people without a key ask more than 3 times a minute")
    free = access(tmp_path, requests_per_minute=0)
    assert [status(free.check("", "chat")) for _ in range(10)] == [200] * 10


@pytest.mark.parametrize(
    ("config", "hosts"),
    [
        ({}, {"127.0.0.1", "localhost", "::1", "[::1]"}),
        ({"allowed_hosts": ["box.lan"]}, {"127.0.0.1", "localhost", "::1", "[::1]", "box.lan"}),
        ({"host": "0.0.0.0"}, {"*"}),
        (
            {"host": "fd00::1", "allowed_hosts": ["*.lan"]},
            {"[fd00::1]", "127.0.0.1", "localhost", "::1", "[::1]", "*.lan"},
        ),
    ],
)
def test_hosts(config: dict[str, object], hosts: set[str]) -> None:
    assert set(allowed_hosts(GatewayConfig.model_validate(config))) == hosts


@pytest.mark.parametrize("name", ["*", "a*", "*.*.lan", "", "http://a", "a b"])
def test_a_host_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        GatewayConfig.model_validate({"allowed_hosts": [name]})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.touch()

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["agent", "keys", *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    code, key = run("create", "shop", "--scope", "chat", "--scope", "admin", "--tenant", "acme")
    assert (code, key.startswith(api_keys.PREFIX)) == (0, True)
    assert isinstance(access(tmp_path / "data").check(f"Bearer {key.strip()}", "admin"), Caller)
    assert run("list")[1] == "shop  good  chat,admin  tenant acme\n"
    assert run("revoke", "shop")[0] == 0
    assert run("list")[1] == "shop  revoked  chat,admin  tenant acme\n"
    (entry,) = json.loads(run("list", "--json")[1])
    assert "sha256" not in entry
    assert run("revoke", "shop")[0] == 2
    assert run("create", "other", "--scope", "root")[0] == 2
