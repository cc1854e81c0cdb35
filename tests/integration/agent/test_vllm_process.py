import itertools
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import VllmConfig
from agent.serving import vllm_process
from agent.serving.vllm_process import VllmServer
from tests.fakes import process_tree
from toolkit.errors import PrerequisiteError, UserError

CONFIG = VllmConfig()


def _spawn(
    folder: Path, manner: str, *, seconds: float = 20, must_log: str = "", port: int | None = None
) -> VllmServer:
    (folder / "pids").mkdir()
    port = vllm_process.free_port(0) if port is None else port
    return VllmServer.spawn(
        [sys.executable, process_tree.__file__, str(port), str(folder / "pids"), manner],
        vllm_process.environment(os.environ, CONFIG, "a key", gpu=False),
        url=f"http://127.0.0.1:{port}",
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
            [sys.executable, process_tree.__file__, "0", str(tmp_path / "pids"), "silent"],
            os.environ,
            url="http://127.0.0.1:9",
            api_key="k",
            log=tmp_path / "log",
            timeout_seconds=20,
            progress=interrupt,
        )
    assert _left(tmp_path) == []


def test_a_port_in_use_is_one_line_with_the_fix(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PrerequisiteError, match=rf"^port {port} of 127\.0\.0\.1 is in use; .*\(0: any\)$"):
            VllmServer.start(VllmConfig(port=port, device="cpu"), tmp_path, tmp_path / "log")
        with pytest.raises(UserError, match=rf"^port {port} of 127\.0\.0\.1 is in use"):
            _spawn(tmp_path, "serves", port=port)


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
        ended, _, _ = select.select([handle], [], [], 5)
        os.close(handle)
        assert ended


def test_vllm_is_told_to_stay_offline_and_to_load_one_plugin() -> None:
    env = vllm_process.environment({"PATH": "/bin", "VLLM_PLUGINS": "other"}, CONFIG, "k", gpu=False)
    assert env["PATH"] == "/bin"
    assert env["VLLM_PLUGINS"] == "apprentice_cpu_lora"
    assert env["HF_HUB_OFFLINE"] == env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert "VLLM_CPU_KVCACHE_SPACE" not in vllm_process.environment({}, CONFIG, "k", gpu=True)


def test_the_command_line_says_what_the_configuration_says() -> None:
    words = vllm_process.command(VllmConfig(max_loras=3, tool_parser="qwen3_xml"), Path("/models/m"), 99, gpu=False)
    pairs = dict(itertools.pairwise(words))
    assert pairs["--host"] == "127.0.0.1"
    assert pairs["--max-loras"] == "3"
    assert pairs["--tool-call-parser"] == "qwen3_xml"
    assert pairs["--served-model-name"] == "base"
    assert Path(pairs["--chat-template"]).is_file()
    assert "--api-key" not in words
    assert pairs["--tool-strict-level"] == "parameter"
    again = vllm_process.command(VllmConfig(), Path("/models/m"), 99, gpu=False)
    assert again[again.index("--seed") + 1] != words[words.index("--seed") + 1]
    free = vllm_process.command(VllmConfig(constrain_calls=False), Path("/models/m"), 99, gpu=False)
    assert dict(itertools.pairwise(free))["--tool-strict-level"] == "auto"
