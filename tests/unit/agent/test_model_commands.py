"""``agent models list``, ``show`` and ``use`` as a person runs them."""

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli import main
from agent.models import hub
from agent.models.detect import profile_of
from agent.serving import serving_state
from agent.serving.serving_state import ServingState
from tests.fakes.model_folders import write_family

NAME, OTHER, REPO = "me--tiny@aaaaaaaaaaaa", "me--tiny@bbbbbbbbbbbb", "me/tiny"
Agent = Callable[..., tuple[int, str, str]]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Agent:
    """Runs ``agent models ARGUMENTS``; gives exit code, stdout, stderr."""
    (tmp_path / "config.toml").write_text('data_folder = "data"\n[agent.serving]\nmodel = "default"\n')
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["agent", "models", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def pulled(data: Path, name: str = NAME, family: str = "qwen3") -> Path:
    folder = write_family(data / "models" / name, family)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / hub.PULLED).write_text(json.dumps({"repo": REPO, "revision": name[-12:] * 3, "files": {}}))
    return folder


def test_the_models_are_listed_with_the_used_one_marked(agent: Agent, tmp_path: Path) -> None:
    pulled(tmp_path / "data")
    code, out, _ = agent("list")
    assert code == 0
    assert [row.split()[:3] for row in out.splitlines()] == [
        ["*", "default", "not"],
        ["gemma-3-270m", "not", "prepared"],
        [NAME, "pulled", "me/tiny"],
    ]
    listed = json.loads(agent("list", "--json")[1])
    used = {model["name"]: model["used"] for model in listed}
    assert used == {"default": True, "gemma-3-270m": False, NAME: False}
    assert listed[2]["about"] == "me/tiny at aaaaaaaaaaaa"


@pytest.mark.parametrize("called", [NAME, REPO, f"data/models/{NAME}"])
def test_a_pulled_model_goes_by_the_same_names_in_show_and_use(agent: Agent, tmp_path: Path, called: str) -> None:
    pulled(tmp_path / "data")
    code, shown, err = agent("show", called)
    assert (code, err) == (0, "")
    assert shown.splitlines()[0].split() == ["model", NAME]
    assert "read by vLLM's parser hermes" in shown
    assert agent("use", called)[0] == 0
    used = tomllib.loads((tmp_path / "config.toml").read_text())["agent"]["serving"]["model"]
    assert used == NAME
    assert agent("show")[1] == shown


def test_the_profile_is_shown_for_programs_with_examples_and_as_a_template(agent: Agent, tmp_path: Path) -> None:
    profile = profile_of(pulled(tmp_path / "data"))
    found = json.loads(agent("show", REPO, "--json")[1])
    assert found == {"model": NAME, **profile.model_dump(mode="json")}
    examples = json.loads(agent("show", REPO, "--examples", "--json")[1])["examples"]
    kinds = [example["kind"] for example in examples]
    assert kinds == ["call", "answer without a call", "answer to a result", "two calls"]
    assert examples[0]["answer"].startswith("<tool_call>")
    told = agent("show", REPO, "--examples")[1]
    assert [line[3:] for line in told.splitlines() if line.startswith("== ")] == kinds
    assert examples[0]["answer"].splitlines()[1] in told
    assert agent("show", REPO, "--template")[1] == profile.template


def test_what_cannot_be_shown_or_used_is_one_line_with_the_fix(agent: Agent, tmp_path: Path) -> None:
    absent = "agent: there is no model me/tiny; see: agent models list; or get it with: agent models pull me/tiny\n"
    several = f"agent: me/tiny was pulled at several revisions; choose one of: {NAME}, {OTHER}\n"
    for command in ("show", "use"):
        assert agent(command, REPO) == (2, "", absent)
    for name in (NAME, OTHER):
        pulled(tmp_path / "data", name)
    for command in ("show", "use"):
        assert agent(command, REPO) == (2, "", several)
        assert agent(command, OTHER)[0] == 0
    assert agent("show", "default")[2].startswith("agent: default is not on this machine yet; agent serve prepares")


def test_use_says_that_a_running_server_must_be_restarted(agent: Agent, tmp_path: Path) -> None:
    pulled(tmp_path / "data")
    assert agent("use", REPO) == (0, "", "me/tiny is used, with no adapter\n")
    state = ServingState(pid=os.getpid(), gateway_url="http://here", vllm_url="", vllm_pid=1, vllm_key="")
    serving_state.write(tmp_path / "data", state)
    told = "default is used, with no adapter; restart the server: agent stop, then agent serve --detach\n"
    assert agent("use", "default") == (0, "", told)


def test_use_names_the_settings_of_the_profile_that_stay(agent: Agent, tmp_path: Path) -> None:
    pulled(tmp_path / "data")
    file = tmp_path / "config.toml"
    table = '[agent.serving.profile]\ntemplate = "auto"\nbos = "no"\nstop = ["<eos>"]\n'
    file.write_text(file.read_text() + table)
    used, kept = agent("use", REPO)[2].splitlines()
    assert used == "me/tiny is used, with no adapter"
    assert kept == (
        "[agent.serving.profile] in config.toml still sets stop, bos for this model; remove what was for another one"
    )
    assert table in file.read_text()
