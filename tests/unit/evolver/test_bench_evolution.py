"""The benchmark of evolution: its settings are real ones, and its page holds what was measured and nothing else."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.ablations import ABLATIONS, ROUND_2, SERVING, inherit, snapshot, templated
from benchmarks.evolution import ForcedClient, write_config
from benchmarks.evolution_page import Round, results_text
from evolver.config import Config
from evolver.statistics import rate
from evolver.store.jsonl import append_lines
from tests.fakes.evolution import trace
from tests.fakes.model_server import ModelServer, Says
from toolkit.config import load_config
from toolkit.errors import UserError

ROOT = Path(__file__).parents[3]


def test_every_setting_of_a_run_is_that_of_config_toml_but_for_what_it_changes(tmp_path: Path) -> None:
    path = write_config(ROOT / "config.toml", tmp_path, {"evolver.verify.round_trip": False})
    run, shipped = load_config(path, Config), load_config(ROOT / "config.toml", Config)
    assert not run.evolver.verify.round_trip
    assert run.data_folder == tmp_path / "data"
    assert run.evolver.train == shipped.evolver.train
    assert run.evolver.model_copy(update={"verify": shipped.evolver.verify}) == shipped.evolver
    assert tomllib.loads(path.read_text())["agent"]["serving"]["gateway"]["port"] == 0


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_something(tmp_path: Path, name: str) -> None:
    path = write_config(ROOT / "config.toml", tmp_path, ABLATIONS[name].changes)
    run, shipped = load_config(path, Config), load_config(ROOT / "config.toml", Config)
    assert (run.evolver, run.agent) != (shipped.evolver, shipped.agent)


def test_what_this_version_cannot_leave_out_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot leave that out \(evolver.make.magic\).*magic"):
        write_config(ROOT / "config.toml", tmp_path, {"evolver.make.magic": False})


def test_the_page_names_what_has_not_run(tmp_path: Path) -> None:
    page = results_text(tmp_path)
    assert all(name in page.splitlines()[-1] for name in ("full", *ABLATIONS))
    assert "|" not in page


def test_every_figure_of_the_page_was_measured(tmp_path: Path) -> None:
    told = {"where": "7 cores", "when": "2031-01-01"}
    base = Round(number=0, scores={"heldout": {"call_accuracy": rate(3, 61)}}, **told)
    first = Round(number=1, status="promoted", scores={}, made={"log": 83}, lessons=44, seconds={"make": 97.5}, **told)
    append_lines(tmp_path / "no-renaming" / "rounds.jsonl", [base, first])
    page = results_text(tmp_path)
    body = page[page.index("## no-renaming") :]
    assert "`evolver.dataset.renamed_share = 0.0`" in body
    row = next(line for line in body.splitlines() if line.startswith("| base"))
    assert "3/61 = 4.9%" in row
    assert row.count("–") >= 6
    assert "the same up to dataset" in body
    allowed = {"3", "61", "4.9", "2", "13", "95", "1", "0", "0.0", "83", "44", "97.5", "7", "2031", "01"}
    assert set(re.findall(r"\d+(?:\.\d+)?", body)) <= allowed


def test_what_an_ablation_took_over_is_not_told_as_its_own(tmp_path: Path) -> None:
    told = {"where": "7 cores", "when": "2031-01-01"}
    rounds = [
        Round(number=n, status="promoted", scores={"heldout": {"call_accuracy": rate(n + 3, 61)}}, **told)
        for n in range(3)
    ]
    append_lines(tmp_path / "full" / "rounds.jsonl", rounds)
    append_lines(tmp_path / "no-replay" / "rounds.jsonl", rounds[:2])
    assert "no-replay" not in results_text(tmp_path).rpartition("\n\n")[0]
    append_lines(tmp_path / "no-replay" / "rounds.jsonl", rounds[2:])
    overview, _, details = results_text(tmp_path).partition("\n## full")
    assert [line.split(" | ")[:2] for line in overview.splitlines() if line.startswith("| full")] == [
        ["| full", "1"],
        ["| full", "2"],
    ]
    assert len([line for line in overview.splitlines() if line.startswith("| no-replay")]) == 1
    assert details.partition("## no-replay")[2].count("promoted") == 1


def a_full_run(folder: Path) -> Path:
    full = folder / "full"
    cycle = snapshot(full) / "cycles" / "0001"
    cycle.mkdir(parents=True)
    for name in ("mine.json", "make.json", "traces.jsonl", "verify.json", "kept.jsonl", "vary.json", "dataset.json"):
        (cycle / name).write_text(name)
    for name in ("interactions.db", "evolution.db"):
        (snapshot(full) / name).write_text(name)
    scores = snapshot(full) / "evaluations"
    scores.mkdir()
    (scores / "heldout-1-base.jsonl").write_text("")
    (scores / "heldout-1-adapter-0001.jsonl").write_text("")
    append_lines(full / "rounds.jsonl", [Round(number=n, where="", when="", scores={}) for n in range(3)])
    return full


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_an_ablation_goes_on_with_what_was_made_before_it_matters(tmp_path: Path) -> None:
    full = a_full_run(tmp_path)
    inherit(full, tmp_path / "run", "verify")
    made = {"mine.json", "make.json", "traces.jsonl"}
    assert names(tmp_path / "run") == made | {"interactions.db", "heldout-1-base.jsonl"}
    inherit(full, tmp_path / "other", "dataset")
    judged = {"verify.json", "kept.jsonl", "vary.json"}
    assert names(tmp_path / "other") == made | judged | {"interactions.db", "heldout-1-base.jsonl"}


def test_one_that_matters_later_goes_on_after_the_first_round(tmp_path: Path) -> None:
    full = a_full_run(tmp_path)
    inherit(full, tmp_path / "run", ROUND_2)
    assert names(tmp_path / "run") == names(snapshot(full)) | {"rounds.jsonl"}
    assert (tmp_path / "run" / "rounds.jsonl").read_text().count("\n") == 2


def test_one_that_matters_to_serving_alone_has_the_adapter_and_none_of_its_scores(tmp_path: Path) -> None:
    full = a_full_run(tmp_path)
    inherit(full, tmp_path / "run", SERVING)
    assert names(tmp_path / "run") == {name for name in names(snapshot(full)) if not name.startswith("heldout")}


def test_what_a_run_has_done_is_not_taken_from_it(tmp_path: Path) -> None:
    (tmp_path / "run" / "data").mkdir(parents=True)
    inherit(a_full_run(tmp_path), tmp_path / "run", "verify")
    assert names(tmp_path / "run") == set()


def test_an_ablation_before_the_full_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="run goes on with what the full run did in its first round; run that first"):
        inherit(tmp_path / "full", tmp_path / "run", "make")


def test_a_template_request_names_the_tool_and_its_slots() -> None:
    made = trace("How much is left?", "remaining_budget", {"category": "dining", "limits": [1, 2]}, 3)
    assert templated([made])[0].request == "remaining budget, category dining, limits [1, 2]"
    assert templated([made])[0].calls == made.calls
    talk = trace("good morning")
    assert templated([talk])[0] == talk


def test_a_forced_client_calls_first_and_answers_then() -> None:
    tools, user = [{"type": "function", "function": {"name": "f"}}], {"role": "user", "content": "r"}
    with ModelServer(Says("a"), Says("b"), Says("c")) as server, ForcedClient(server.url) as client:
        client.chat({"model": "m", "messages": [user], "tools": tools})
        client.chat({"model": "m", "messages": [user, {"role": "tool", "content": "1"}], "tools": tools})
        client.chat({"model": "m", "messages": [user]})
        assert [request.get("tool_choice") for request in server.requests] == ["required", None, None]
