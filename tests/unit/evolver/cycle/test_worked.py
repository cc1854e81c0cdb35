"""The precision of "worked": a sample of turns that a person judges, and what the judgements say of each rule."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.log.interaction_log import InteractionLog
from evolver.cli.main import app
from tests.fakes.client_traffic import asked, log_turn, said
from tests.fakes.evolution import turn
from toolkit.errors import UserError

CITIES = ("Oslo", "Rome", "Bern", "Kyiv", "Lima")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of five turns of a client four worked, three tell their result; one turn is of a tool of this machine."""
    file = tmp_path / "config.toml"
    file.write_text(f'data_folder = "{tmp_path / "data"}"\n')
    with InteractionLog(tmp_path / "data" / "interactions.db") as log:
        for n, city in enumerate(CITIES):
            failed, tells = n == 4, n < 3
            result = "error: no such city" if failed else f"It is {n + 17} degrees."
            made = asked(
                f"How is the weather in {city}?",
                ("get_weather", {"city": city}, result),
                answer=f"{n + 17} degrees." if tells else "As you like.",
            )
            log_turn(log, made, session=f"s{n}", owner="shop", tenant="acme")
        before = said(("How is the weather in Oslo?", "17 degrees."))
        log_turn(log, asked("Thanks!", history=before, answer="Gladly."), session="s0", owner="shop", tenant="acme")
        log.append(turn("Add 2 and 3.", ("add", {"a": 2, "b": 3}, 5)), session="c", source="chat")
    return file


def call(config: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["audit", *words, "--config", str(config)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def lines(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def test_turns_that_worked_are_drawn_with_what_a_judge_needs(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "sample.jsonl"
    log = (tmp_path / "data" / "interactions.db").read_bytes()
    assert "5 of 5 turns are in" in call(config, "--worked", str(file))
    drawn = lines(file)
    assert [one["request"] for one in drawn] == [
        *(f"How is the weather in {city}?" for city in CITIES[:4]),
        "Add 2 and 3.",
    ]
    assert (drawn[0]["next"], drawn[1]["next"]) == ("Thanks!", "")
    assert drawn[0]["calls"] == [{"name": "get_weather", "arguments": {"city": "Oslo"}, "result": "It is 17 degrees."}]
    assert [one["signs"] for one in drawn[:4]] == [["result told", "went on"], ["result told"], ["result told"], []]
    assert [one["reason"] for one in drawn[:4]] == ["", "", "", "no_sign_of_success"]
    assert [one["client"] for one in drawn] == [True, True, True, True, False]
    assert {one["right"] for one in drawn} == {None}
    assert (tmp_path / "data" / "interactions.db").read_bytes() == log
    with pytest.raises(UserError, match="exists, and may hold judgements"):
        call(config, "--worked", str(file))
    some = tmp_path / "some.jsonl"
    assert "2 of 5 turns are in" in call(config, "--worked", str(some), "--sample", "2")
    assert len(lines(some)) == 2


def test_the_judgements_give_the_precision_of_each_rule(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "sample.jsonl"
    call(config, "--worked", str(file))
    with pytest.raises(UserError, match="no turn is judged yet"):
        call(config, "--labels", str(file))
    right = [True, True, False, True, None]
    labelled = [{**one, "right": word} for one, word in zip(lines(file), right, strict=True)]
    file.write_text("".join(json.dumps(one) + "\n" for one in labelled))
    found = {
        one["name"]: (one["right"]["hits"], one["right"]["n"])
        for one in json.loads(call(config, "--labels", str(file), "--json"))
    }
    assert found == {
        "worked": (3, 4),
        "a lesson": (2, 3),
        "worked, this machine's tools": (0, 0),
        "worked, clients' tools": (3, 4),
        "sign: called good": (0, 0),
        "sign: result told": (2, 3),
        "sign: went on": (1, 1),
        "sign: agreed": (0, 0),
        "no sign": (1, 1),
        "dropped: no_sign_of_success": (1, 1),
    }
    shown = call(config, "--labels", str(file))
    assert "75.0% (3/4, 30–95)" in shown


def test_texts_with_line_breaks_of_unicode_are_read_back(config: Path, tmp_path: Path) -> None:
    request = "Add 2\u2028and\u2029 3\x85, please."
    with InteractionLog(tmp_path / "data" / "interactions.db") as log:
        log.append(turn(request, ("add", {"a": 2, "b": 3}, 5)), session="u", source="chat")
    file = tmp_path / "sample.jsonl"
    call(config, "--worked", str(file))
    drawn = lines(file)
    assert request in [one["request"] for one in drawn]
    labelled = [{**one, "right": True} for one in drawn]
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in labelled), encoding="utf-8")
    (worked, *_) = json.loads(call(config, "--labels", str(file), "--json"))
    assert (worked["right"]["hits"], worked["right"]["n"]) == (len(drawn), len(drawn))


def test_a_line_that_cannot_be_read_is_named(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "sample.jsonl"
    call(config, "--worked", str(file))
    text = file.read_text().splitlines()
    file.write_text("\n".join([text[0], text[1].replace('"right":null', '"right":"perhaps"')]))
    with pytest.raises(UserError, match=r'sample.jsonl:2: right: .*; "right" is true, false or null'):
        call(config, "--labels", str(file))
    with pytest.raises(UserError, match=r"none.jsonl: No such file"):
        call(config, "--labels", str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="give one of"):
        call(config, "--labels", str(file), "--plan")


def test_where_nothing_worked_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'data_folder = "{tmp_path / "data"}"\n')
    with pytest.raises(UserError, match="no turn with a call has worked yet"):
        call(tmp_path / "config.toml", "--worked", str(tmp_path / "sample.jsonl"))
    assert not (tmp_path / "sample.jsonl").exists()
