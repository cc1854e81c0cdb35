import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.serving import serving_state
from agent.serving.serving_state import ServingState
from toolkit.errors import UserError


def _state(pid: int) -> ServingState:
    return ServingState(pid=pid, gateway_url="http://g", vllm_url="http://v", vllm_pid=1, vllm_key="secret")


def test_a_running_server_is_found_and_its_file_is_private(tmp_path: Path) -> None:
    serving_state.write(tmp_path / "data", _state(os.getpid()))
    found = serving_state.read(tmp_path / "data")
    assert found is not None
    assert found.vllm_key == "secret"
    assert stat.S_IMODE(serving_state.path(tmp_path / "data").stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "data").iterdir()] == [serving_state.FILE]


def test_a_setting_that_was_changed_since_the_start_is_named_with_its_fix() -> None:
    config = AgentConfig()
    state = _state(1).model_copy(update={"settings": serving_state.answer_settings(config)})
    serving_state.check_settings(state, config)
    serving_state.check_settings(_state(1), config)  # a server that does not tell
    prompt = config.prompt.model_copy(update={"judge_tools": False})
    changed = config.model_copy(update={"prompt": prompt})
    with pytest.raises(
        UserError,
        match=r"^\[agent.prompt\] judge_tools is false .* was true .*; start both with the same config.toml: ",
    ):
        serving_state.check_settings(state, changed)


def test_no_server_where_there_is_no_file_or_a_damaged_one(tmp_path: Path) -> None:
    assert serving_state.read(tmp_path) is None
    serving_state.path(tmp_path).write_text('{"pid": 1')
    assert serving_state.read(tmp_path) is None


def test_a_dead_server_is_no_server(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        serving_state.write(tmp_path, _state(process.pid))
        assert serving_state.read(tmp_path) is not None
    assert serving_state.read(tmp_path) is None


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    serving_state.write(tmp_path, _state(process.pid))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert serving_state.read(tmp_path) is None
    process.wait()


def test_another_process_with_the_same_number_is_no_server(tmp_path: Path) -> None:
    serving_state.write(tmp_path, _state(os.getpid()))
    earlier = _state(os.getpid()).model_copy(update={"started": "1"})
    serving_state.path(tmp_path).write_text(earlier.model_dump_json())
    assert serving_state.read(tmp_path) is None


def test_only_ones_own_announcement_is_taken_back(tmp_path: Path) -> None:
    serving_state.write(tmp_path, _state(os.getpid()))
    serving_state.remove(tmp_path, os.getpid() + 1)
    assert serving_state.path(tmp_path).exists()
    serving_state.remove(tmp_path, os.getpid())
    assert not serving_state.path(tmp_path).exists()
    serving_state.remove(tmp_path, os.getpid())
