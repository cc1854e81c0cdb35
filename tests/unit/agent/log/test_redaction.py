"""What must not be stored is found and removed; what looks alike stays."""

import json
from pathlib import Path

import pytest

from agent.config import RedactionConfig
from agent.log.interaction_log import InteractionLog
from agent.log.redaction import Redactor
from agent.turn.messages import Message, Sampling, Trajectory
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

# Put together here, so that no scanner of repositories takes them for real ones.
CANARIES = {
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "openai": "sk-" + "proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
    "slack": "xoxb-" + "123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "google": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "own": "apprentice-" + "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
}
SECRETS = Redactor(RedactionConfig())
ALL = Redactor(RedactionConfig(personal_data=True))


@pytest.mark.parametrize("secret", CANARIES.values(), ids=CANARIES)
def test_keys_are_known_by_their_form(secret: str) -> None:
    assert SECRETS.text(f"Use {secret} for it, please.") == "Use [secret] for it, please."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my password is hunter2hunter2", "my password is [secret]"),
        ("PASSWORD='hunter2hunter2'", "PASSWORD='[secret]'"),
        ('{"api_key": "9d8f7s9d8f7s"}', '{"api_key": "[secret]"}'),
        ("postgres://bob:s3cr3tpw@db.example/x", "postgres://bob:[secret]@db.example/x"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwx", "Authorization: Bearer [secret]"),
    ],
)
def test_secrets_are_known_by_what_stands_before_them(text: str, expected: str) -> None:
    assert SECRETS.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "the commit e83c5163316f89bfbde7d9ab23ca2e25604af290 and 550e8400-e29b-41d4-a716-446655440000",
        "password is required; the token: string; a secret = something",
        "convert 12345678 to hex, 3.14159265358979 and 1234567890123456",
        "https://example.com/a/b?c=d at 12:30:59",
        "mail bob@example.com, +49 170 1234567, 10.0.0.1",
        "aGVsbG8gd29ybGQsIHRoaXMgaXMganVzdCBhIHRleHQ=",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert SECRETS.text(text) == text
    assert SECRETS.find(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail bob.x+y@example.co.uk now", "mail [email] now"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("iban DE89 3704 0044 0532 0130 00", "iban [iban]"),
        ("call +49 170 1234567 or (555) 123-4567", "call [phone] or [phone]"),
        ("host 192.168.10.1", "host [ip address]"),
    ],
)
def test_personal_data_where_that_is_asked_for(text: str, expected: str) -> None:
    assert ALL.text(text) == expected
    assert SECRETS.text(text) == text


@pytest.mark.parametrize(
    "text", ["card 4111 1111 1111 1112", "iban DE88 3704 0044 0532 0130 00", "version 1.2.3.4.5", "300.1.2.3", "7 + 8"]
)
def test_numbers_without_right_check_digits_stay(text: str) -> None:
    assert ALL.text(text) == text


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    off = Redactor(RedactionConfig(secrets=False))
    assert off.text(CANARIES["aws"]) == CANARIES["aws"]
    assert off.value({"password": "hunter2hunter2"}) == {"password": "hunter2hunter2"}


def test_what_is_found_once_is_removed_everywhere() -> None:
    value = {"text": "my password is hunter2hunter2", "raw": '{"p":"hunter2hunter2"}', "n": [1, None, True, 0.5]}
    assert SECRETS.value(value) == {
        "text": "my password is [secret]",
        "raw": '{"p":"[secret]"}',
        "n": [1, None, True, 0.5],
    }
    assert SECRETS.value({"client_secret": "swordfish"}) == {"client_secret": "[secret]"}
    assert SECRETS.value({"tokens": "swordfish", "key": "swordfish"}) == {"tokens": "swordfish", "key": "swordfish"}


def test_a_secret_that_is_an_ordinary_word_is_removed_only_where_it_is_one() -> None:
    value = {"arguments": {"password": "please"}, "raw": '{"password": "please"}', "text": "please help"}
    assert SECRETS.value(value) == {
        "arguments": {"password": "[secret]"},
        "raw": '{"password": "[secret]"}',
        "text": "please help",
    }


def test_a_long_text_is_searched_to_its_end() -> None:
    assert SECRETS.text("x " * 50_000 + CANARIES["github"]).endswith("x [secret]")


@pytest.mark.parametrize("secret", CANARIES.values(), ids=CANARIES)
def test_no_planted_secret_reaches_the_disk(tmp_path: Path, secret: str) -> None:
    """In every place of a turn, its tools and the feedback on it."""
    path = tmp_path / "interactions.db"
    call = ToolCall(id="1", name="f", arguments={"deep": [{"x": secret}]}, raw=json.dumps({"deep": [{"x": secret}]}))
    turn = Trajectory(
        history=(Message(role="system", content=f"system {secret}"),),
        messages=(
            Message(role="user", content=f"use {secret} now"),
            Message(role="assistant", content=secret, tool_calls=(call,)),
            Message(role="tool", tool_result=ToolResult(call_id="1", name="f", value={"a": secret})),
            Message(
                role="tool",
                content=secret,
                tool_result=ToolResult(
                    call_id="2", name="f", error=ToolError(kind=ToolErrorKind.TOOL_FAILED, message=f"no {secret}")
                ),
            ),
            Message(role="assistant", content=f"I used {secret}."),
        ),
        tools=("f",),
        adapter="base",
        prompt_version="v",
        sampling=Sampling(),
        stop_reason="failed",
        error=f"broke at {secret}",
    )
    schema = {"type": "function", "function": {"name": "f", "description": f"like {secret}"}}
    with InteractionLog(path) as log:
        identity = log.append(turn, session="s", source="x", tool_schemas=[schema])
        log.feedback(identity, "bad", f"it said {secret}")
        (found,) = log.read()
        on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert found.trajectory.answer == "I used [secret]."
    for line in secret.splitlines():
        assert line.encode() not in on_disk
        assert json.dumps(line)[1:-1].encode() not in on_disk
