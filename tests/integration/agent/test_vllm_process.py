import itertools
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import VllmConfig
from agent.http.address import of_socket, of_tcp
from agent.models.profile import EMBEDDED
from agent.serving.vllm import command_line, cpu_engine
from agent.serving.vllm.process import VllmServer
from tests.fakes import process_tree
from toolkit.errors import UserError

CONFIG = VllmConfig()


def _spawn(folder: Path, manner: str, *, seconds: float = 120, must_log: str = "") -> VllmServer:
    (folder / "pids").mkdir()
    socket = folder / "vllm.sock"
    return VllmServer.spawn(
        [sys.executable, process_tree.__file__, str(socket), str(folder / "pids"), manner],
        command_line.environment(os.environ, CONFIG, "a key", folder, gpu=False),
        url=of_socket(socket),
        api_key="a key",
        log=folder / "logs" / "vllm.log",
        timeout_seconds=seconds,
        must_log=must_log,
    )


def _left(folder: Path) -> list[str]:
    return [pid.name for pid in (folder / "pids").iterdir() if Path(f"/proc/{pid.name}").exists()]


def test_a_started_server_answers_and_stop_leaves_nothing(tmp_path: Path) -> None:
    with _spawn(tmp_path, "serves", must_log="Using Stand-in") as server:
        assert server.alive
        assert str(server.pid) in _left(tmp_path)
        assert len(_left(tmp_path)) == 3
    assert not server.alive
    assert _left(tmp_path) == []
    server.stop()


def test_the_key_reaches_the_server_by_its_environment_only(tmp_path: Path) -> None:
    with _spawn(tmp_path, "serves") as server:
        assert "key is a key" in server.log.read_text()
        assert "a key" not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert "a key" not in Path(f"/proc/{server._process.pid}/cmdline").read_text()


def test_a_server_that_dies_at_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)died at start.*vllm\.log.*ValueError: no such model.*file$"):
        _spawn(tmp_path, "dies")


def test_a_command_that_does_not_exist_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        VllmServer.spawn(
            ["/no/such/program"],
            os.environ,
            url="http://127.0.0.1:9",
            api_key="k",
            log=tmp_path / "l",
            timeout_seconds=5,
        )


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did not answer within 1 s.*start_timeout_seconds"):
        _spawn(tmp_path, "silent", seconds=1)
    assert _left(tmp_path) == []


def test_a_server_without_the_plugin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plugin"):
        _spawn(tmp_path, "serves", must_log="Using DenseLora")
    assert _left(tmp_path) == []


def test_an_interrupt_while_starting_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_step: str, _seconds: float) -> None:
        if len(list((tmp_path / "pids").iterdir())) == 3:
            raise KeyboardInterrupt

    (tmp_path / "pids").mkdir()
    with pytest.raises(KeyboardInterrupt):
        VllmServer.spawn(
            [sys.executable, process_tree.__file__, str(tmp_path / "vllm.sock"), str(tmp_path / "pids"), "silent"],
            os.environ,
            url="http://127.0.0.1:9",
            api_key="k",
            log=tmp_path / "log",
            timeout_seconds=120,
            progress=interrupt,
        )
    assert _left(tmp_path) == []


def test_stop_also_ends_what_a_killed_guard_left(tmp_path: Path) -> None:
    server = _spawn(tmp_path, "serves")
    pids = [int(pid) for pid in _left(tmp_path)]
    handles = {pid: os.pidfd_open(pid) for pid in pids}
    stray = next(pid for pid in pids if os.getsid(pid) != server.pid)  # vLLM starts no process in another session
    os.kill(server._process.pid, signal.SIGKILL)
    subprocess.Popen.wait(server._process)
    server.stop()
    os.kill(stray, signal.SIGKILL)
    for handle in handles.values():
        ended, _, _ = select.select([handle], [], [], 60)
        os.close(handle)
        assert ended


def test_vllm_is_told_to_stay_offline_and_to_load_one_plugin() -> None:
    env = command_line.environment({"PATH": "/bin", "VLLM_PLUGINS": "other"}, CONFIG, "k", Path("/s"), gpu=False)
    assert env["PATH"] == "/bin"
    assert env["VLLM_PLUGINS"] == "apprentice_cpu_lora"
    assert env["HF_HUB_OFFLINE"] == env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert env["OMP_NUM_THREADS"] == str(cpu_engine.usable_threads())
    assert env["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert env["VLLM_RPC_BASE_PATH"] == "/s"
    on_gpu = command_line.environment({}, CONFIG, "k", Path("/s"), gpu=True)
    assert {"VLLM_CPU_KVCACHE_SPACE", "OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING"}.isdisjoint(on_gpu)


def test_the_command_line_says_what_the_configuration_says() -> None:
    model, socket = Path("/models/m"), Path("/s/vllm.sock")
    words = command_line.command(VllmConfig(max_loras=3), model, socket, gpu=False, profile=EMBEDDED)
    pairs = dict(itertools.pairwise(words))
    assert pairs["--uds"] == "/s/vllm.sock"
    assert pairs["--distributed-executor-backend"] == "uni"
    assert "uni" not in command_line.command(VllmConfig(), model, socket, gpu=True, profile=EMBEDDED)
    assert "--host" not in words
    assert "--port" not in words
    assert "--middleware" not in words
    assert pairs["--max-loras"] == "3"
    assert pairs["--tool-call-parser"] == "hermes"
    assert Path(pairs["--tool-parser-plugin"]).name == "hermes_calls.py"
    assert pairs["--served-model-name"] == "base"
    assert Path(pairs["--chat-template"]).is_file()
    assert "--api-key" not in words
    assert pairs["--tool-strict-level"] == "parameter"
    again = command_line.command(VllmConfig(), model, socket, gpu=False, profile=EMBEDDED)
    assert again[again.index("--seed") + 1] != words[words.index("--seed") + 1]
    free = command_line.command(VllmConfig(constrain_calls=False), model, socket, gpu=False, profile=EMBEDDED)
    assert dict(itertools.pairwise(free))["--tool-strict-level"] == "auto"


def test_one_for_other_machines_listens_on_a_port_and_asks_for_its_key_everywhere() -> None:
    model, socket = Path("/models/m"), Path("/s/vllm.sock")
    config = VllmConfig()
    words = command_line.command(config, model, socket, gpu=True, profile=EMBEDDED, tcp=("10.0.0.6", 4242), gpus=2)
    pairs = dict(itertools.pairwise(words))
    assert "--uds" not in words
    assert (pairs["--host"], pairs["--port"], pairs["--middleware"]) == ("10.0.0.6", "4242", command_line.KEY_CHECK)
    assert (pairs["--tensor-parallel-size"], pairs["--distributed-executor-backend"]) == ("2", "mp")
    words = command_line.command(config, model, socket, gpu=False, profile=EMBEDDED, tcp=("10.0.0.6", 4242), gpus=2)
    assert "--tensor-parallel-size" not in words
    assert of_tcp("fd00::6", 4242) == "http://[fd00::6]:4242"
