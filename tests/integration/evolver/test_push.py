"""``evolver push`` through huggingface_hub, to a hub on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import package
from evolver.scores import EvalReport, Rate
from evolver.store.cycle_folder import cycle_folder
from evolver.store.dataset_files import folder_sha256, write_dataset
from evolver.store.ledger import Ledger
from tests.fakes.evolution import publish_adapter
from tests.fakes.model_folders import write_family
from tests.fakes.push_hub import TOKEN, PushHub, push_hub


@pytest.fixture(scope="module")
def hub() -> Iterator[PushHub]:
    with push_hub() as running:
        yield running


def lesson(tool: str, **provenance: Any) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return {"messages": messages, "targets": [1], "provenance": provenance}


def evolved(folder: Path, lessons: Sequence[dict[str, Any]], tenants: dict[str, int] | None = None) -> Path:
    """A data folder with the adapter adapter-0001, measured, and its config.toml."""
    model = write_family(folder / "tiny-qwen", "qwen3")
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    adapter = publish_adapter(folder / "data", "adapter-0001", base_sha256=package.model_sha256(model), tenants=tenants)
    with Ledger(folder / "data" / "evolution.db") as ledger:
        cycle = ledger.open_cycle().number
        dataset = cycle_folder(folder / "data", cycle) / "dataset"
        write_dataset(dataset, train=lessons, valid=[])
        ledger.add_adapter(adapter, cycle, "base", folder_sha256(dataset))
        for model_name, hits in (("base", 3), ("adapter-0001", 17)):
            ledger.record_evaluation(_report(model_name, hits))
    (folder / "config.toml").write_text(f'data_folder = "data"\n[agent.serving]\nmodel = "{model}"\n')
    return folder


def _report(model: str, hits: int) -> EvalReport:
    rate = Rate(hits=hits, n=20, low=0.1, high=0.9)
    rates = dict.fromkeys(
        ("call_accuracy", "tool_selection_accuracy", "irrelevance_accuracy", "invalid_call_rate"), rate
    )
    return EvalReport(model=model, suite="heldout", suite_sha256="e" * 64, failed=0, items=(), **rates)


def push(hub: PushHub, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    return subprocess.run(
        [sys.executable, "-m", "evolver.cli.main", "push", "adapter-0001", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **given, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_adapter_is_pushed_private_with_all_that_it_needs_and_a_card(hub: PushHub, tmp_path: Path) -> None:
    folder = evolved(tmp_path, [lesson("double"), lesson("double"), lesson("shout")])
    done = push(hub, folder, "me/mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/me/mine\n"
    assert hub.private["me/mine"] is True
    sent = hub.files["me/mine"]
    source = package.folder_of(folder / "data", "adapter-0001")
    assert sent[package.WEIGHTS] == (source / package.WEIGHTS).read_bytes()
    assert {package.PEFT_CONFIG, "manifest.json", "profile.json", "chat_template.jinja", "call_bias.json"} < set(sent)
    card = sent["README.md"].decode()
    assert card.startswith(
        '---\nlicense: "apache-2.0"\nlibrary_name: "peft"\ntags: ["apprentice", "tool-calling"]\n---\n'
    )
    assert "| heldout | call accuracy | 3 of 20 | 17 of 20 |" in card
    assert "`double` (2), `shout` (1)" in card
    assert "--tool-call-parser hermes" in card
    assert "That of the base model, tiny-qwen: apache-2.0." in card
    assert str(tmp_path) not in card


def test_public_is_said(hub: PushHub, tmp_path: Path) -> None:
    folder = evolved(tmp_path, [lesson("double")])
    hub.private["me/open"] = False
    done = push(hub, folder, "me/open")
    assert (done.returncode, done.stderr) == (
        2, "evolver: me/open is public; push with --public, or to another repository\n"
    )  # fmt: skip
    assert "me/open" not in hub.files
    assert push(hub, folder, "me/open", "--public").returncode == 0
    assert push(hub, folder, "me/other", "--public", "--json").stdout.split() == [
        "{",
        '"url":',
        f'"{hub.url}/me/other"',
        "}",
    ]
    assert hub.private["me/other"] is False


def test_peoples_turns_are_not_pushed_unless_told(hub: PushHub, tmp_path: Path) -> None:
    folder = evolved(tmp_path, [lesson("double"), lesson("double", interaction_id="i-1")])
    done = push(hub, folder, "me/turns")
    assert done.returncode == 2
    assert done.stderr == (
        "evolver: adapter-0001 learned 1 of 2 lessons from logged turns; if you may publish that, push with "
        "--with-logged-turns\n"
    )
    assert "me/turns" not in hub.private
    assert push(hub, folder, "me/turns", "--with-logged-turns").returncode == 0
    assert b"1 of them come from logged turns of people" in hub.files["me/turns"]["README.md"]


def test_tenants_turns_and_lessons_that_are_gone_are_not_pushed(hub: PushHub, tmp_path: Path) -> None:
    folder = evolved(tmp_path / "tenants", [lesson("double")], tenants={"": 2, "shop": 5})
    assert "from logged turns of tenants ((none) 2, shop 5)" in push(hub, folder, "me/tenants").stderr
    folder = evolved(tmp_path / "gone", [])
    assert "the lessons of adapter-0001 are not on disk as learned" in push(hub, folder, "me/gone").stderr


def test_lessons_that_were_forgotten_since_and_those_of_earlier_versions_are_not_pushed(
    hub: PushHub, tmp_path: Path
) -> None:
    folder = evolved(tmp_path / "forgot", [lesson("double"), lesson("double", interaction_id="i-1")])
    write_dataset(cycle_folder(folder / "data", 1) / "dataset", train=[lesson("double")], valid=[])
    assert "the lessons of adapter-0001 are not on disk as learned" in push(hub, folder, "me/forgot").stderr
    before = {name: value for name, value in lesson("double").items() if name != "provenance"}
    folder = evolved(tmp_path / "before", [{**before, "origin": "i-1"}])
    assert "the lessons of adapter-0001 are not on disk as learned" in push(hub, folder, "me/before").stderr
    assert not {"me/forgot", "me/before"} & hub.private.keys()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HF_TOKEN": ""}, "the hub asks for a token; set HF_TOKEN to one of yours"),
        ({"HF_TOKEN": "hf_wrong"}, "the hub refuses me/mine"),
        ({"HF_HUB_OFFLINE": "1"}, "the hub cannot be reached"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached"),
    ],
)
def test_without_a_token_or_a_network_is_one_line(
    hub: PushHub, tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    done = push(hub, evolved(tmp_path, [lesson("double")]), "me/mine", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"evolver: {told}")
    assert done.stderr.count("\n") == 1


def test_what_is_no_repository_or_no_adapter_is_one_line(hub: PushHub, tmp_path: Path) -> None:
    folder = evolved(tmp_path, [lesson("double")])
    assert "mine is no repository; name it as OWNER/NAME" in push(hub, folder, "mine").stderr
    (folder / "data" / "adapters" / "adapter-0001").rename(folder / "data" / "adapters" / "adapter-0002")
    assert "there is no adapter adapter-0001" in push(hub, folder, "me/mine").stderr
