"""``agent serve`` and what goes with it, as processes, on a vLLM that takes no minute to start."""

import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.adapters.package import model_sha256
from agent.errors import ModelUnavailable
from agent.serving import serving_state
from agent.serving.upstreams import lora_api
from tests.fakes import ports
from tests.fakes.adapter_folder import make_adapter
from tests.fakes.agent_house import House, gone, health
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.waiting import wait_until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server in the background for the tests that only use it."""
    house = House(tmp_path_factory.mktemp("house"), cluster='address = "auto"')
    started = house.agent("serve", "--detach")
    assert started.returncode == 0, started.stderr
    house.folder.joinpath("url").write_text(started.stdout)
    yield house
    assert house.agent("stop").returncode == 0


def test_detached_server_tells_its_url_and_its_progress(house: House) -> None:
    running = serving_state.read(house.data)
    assert running is not None
    assert house.folder.joinpath("url").read_text() == running.gateway_url + "\n"
    assert health(running.gateway_url)["status"] == "ok"
    said = (house.data / "logs" / "serve.log").read_text()
    assert f"ready at {running.gateway_url}" in said
    assert f"dashboard at {running.gateway_url}/ui/" in said
    assert os.getsid(running.pid) == running.pid


def test_without_servers_on_a_cluster_ray_is_not_imported(house: House) -> None:
    """The address is for the evolver."""
    running = serving_state.read(house.data)
    assert running is not None
    assert "/httptools/" in (loaded := Path(f"/proc/{running.pid}/maps").read_text())
    assert "/ray/" not in loaded


def test_a_second_server_says_where_the_first_is(house: House) -> None:
    running = serving_state.read(house.data)
    assert running is not None
    first, second = house.agent("serve"), house.agent("serve", "--detach")
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stderr == f"already serving at {running.gateway_url}\n"
    assert second.stdout == running.gateway_url + "\n"
    assert serving_state.read(house.data) == running


def test_one_turn_with_a_tool_in_the_sandbox(house: House) -> None:
    shown = house.agent("chat", "--message", "calculate 6 * 7")
    assert (shown.returncode, shown.stdout) == (0, "It is 42.\n"), shown.stderr
    assert shown.stderr.startswith('→ calculate(expression="6 * 7")\n← 42\n')
    entry = json.loads(house.agent("log", "--limit", "1", "--json").stdout)[0]
    assert entry["trajectory"]["messages"][2]["tool_result"]["value"] == 42
    assert "calculate" in [schema["function"]["name"] for schema in entry["tool_schemas"]]
    assert house.agent("feedback", entry["id"], "good").returncode == 0


def test_sessions_go_on_in_another_process(house: House) -> None:
    house.agent("chat", "--session", "s1", "--message", "I am Ada")
    shown = json.loads(house.agent("chat", "--session", "s1", "--message", "and now?", "--json").stdout)
    assert (shown["answer"], shown["session"]) == ("You said: and now?", "s1")
    entry = json.loads(house.agent("log", "--limit", "1", "--json").stdout)[0]
    assert [m["content"] for m in entry["trajectory"]["history"]] == ["I am Ada", "You said: I am Ada"]


def test_outside_clients_are_logged(house: House) -> None:
    running = serving_state.read(house.data)
    assert running is not None
    body = {"model": "agent", "messages": [{"role": "user", "content": "from outside"}]}
    httpx.post(f"{running.gateway_url}/v1/chat/completions", json=body, trust_env=False, timeout=60).raise_for_status()
    wait_until(lambda: "from outside" in house.agent("log").stdout)


def test_only_the_gateway_listens_on_a_port(house: House) -> None:
    running = serving_state.read(house.data)
    assert running is not None
    processes = ports.of_sessions(os.getsid(running.pid), os.getsid(running.vllm_pid))
    assert running.vllm_pid in processes
    assert ports.listening(processes) == {httpx.URL(running.gateway_url).port}
    assert running.vllm_url == f"unix:{house.data / 'sockets' / 'admin.sock'}"
    assert stat.S_IMODE((house.data / "sockets").stat().st_mode) == 0o700


def test_adapters_are_loaded_over_the_socket(house: House) -> None:
    running = serving_state.read(house.data)
    assert running is not None
    folder = make_adapter(house.data, "adapter-0008", base_sha256=model_sha256(house.folder / "model"))
    lora_api.load(running.vllm_url, running.vllm_key, "adapter-0008", folder)
    assert lora_api.loaded(running.vllm_url, running.vllm_key) == {"adapter-0008"}
    lora_api.unload(running.vllm_url, running.vllm_key, "adapter-0008")
    with pytest.raises(ModelUnavailable, match="wrong key"):
        lora_api.loaded(running.vllm_url, "guessed")


def test_an_adapter_that_learned_with_another_template_serves_and_is_said(tmp_path: Path) -> None:
    house = House(tmp_path)
    make_adapter(house.data, "adapter-0009", base_sha256=model_sha256(house.folder / "model"), promote=True)
    started = house.agent("serve", "--detach")
    try:
        assert started.returncode == 0, started.stderr
        assert started.stderr.count("adapter-0009 learned with another chat template") == 1
    finally:
        house.agent("stop")


def test_a_data_folder_with_a_long_path(tmp_path: Path) -> None:
    house = House(tmp_path / ("d" * 100))
    with house.serving() as running:
        sockets = Path(running.vllm_url.removeprefix("unix:")).parent
        assert sockets.parent == Path(tempfile.gettempdir())
        assert house.agent("chat", "--message", "hi").stdout == "You said: hi\n"
        assert house.agent("stop").returncode == 0
    assert not sockets.exists()


def test_the_key_of_vllm_is_its_owners(house: House) -> None:
    assert serving_state.path(house.data).stat().st_mode & 0o777 == 0o600
    assert (house.data / "interactions.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    house = House(tmp_path)
    with house.serving() as running:
        os.kill(running.pid, number)
        wait_until(lambda: gone(running.pid) and gone(running.vllm_pid))
    assert serving_state.read(house.data) is None
    assert not serving_state.path(house.data).exists()
    assert not (house.data / "sockets").exists()


def test_a_killed_server_leaves_no_vllm_and_the_next_one_starts(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.serving() as running:
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: gone(running.vllm_pid))
    assert house.agent("chat", "--message", "hi").returncode == 2
    with house.serving() as again:
        assert health(again.gateway_url)["status"] == "ok"


def test_a_dead_vllm_is_replaced(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.serving() as running:
        os.kill(running.vllm_pid, signal.SIGKILL)
        wait_until(lambda: health(running.gateway_url)["vllm_pid"] not in (running.vllm_pid, None))
        now = serving_state.read(house.data)
        assert now is not None
        assert (now.pid, now.gateway_url) == (running.pid, running.gateway_url)
        assert now.vllm_pid != running.vllm_pid
        assert house.agent("chat", "--message", "hi").stdout == "You said: hi\n"
        assert house.agent("stop").returncode == 0
        assert gone(now.vllm_pid)


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        house = House(tmp_path, port)
        for arguments in (("serve",), ("serve", "--detach")):
            done = house.agent(*arguments)
            assert done.returncode == 2
            assert done.stderr == (
                f"agent: port {port} on 127.0.0.1 is in use; stop what uses it, or set another port in "
                "[agent.serving.gateway] of config.toml\n"
            )
    assert serving_state.read(house.data) is None


def test_a_vllm_that_dies_at_start_shows_its_last_words(tmp_path: Path) -> None:
    house = House(tmp_path)
    for arguments in (("serve",), ("serve", "--detach")):
        done = house.agent(*arguments, FAKE_VLLM_DIES="1")
        assert done.returncode == 2
        first, *_, words, fix = done.stderr.partition("agent: ")[2].splitlines()
        assert first == f"vLLM died at start; the end of {house.data}/logs/vllm.log:"
        assert (words, fix) == (
            "  RuntimeError: the engine did not start",
            "look at the lines above the last in that file",
        )
        assert serving_state.read(house.data) is None


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("how", ["signal", "stop"])
def test_a_start_can_be_stopped(tmp_path: Path, detach: bool, how: str) -> None:
    house = House(tmp_path)
    pid_file = tmp_path / "pid"
    environment = {**house.environment, "FAKE_VLLM_STARTS_FOREVER": str(pid_file)}
    command = house.command("serve", *(["--detach"] if detach else []))
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        wait_until(lambda: pid_file.exists() and pid_file.read_text())
        if how == "signal":
            server.send_signal(signal.SIGINT)
        else:
            assert house.agent("stop").stderr == "stopped\n"
        wait_until(lambda: gone(int(pid_file.read_text())))
        server.communicate(timeout=90)
    assert serving_state.read(house.data) is None
    assert house.agent("stop").stderr == "no server is running\n"


def test_stopping_what_does_not_run(tmp_path: Path) -> None:
    done = House(tmp_path).agent("stop")
    assert (done.returncode, done.stderr) == (0, "no server is running\n")


def test_where_keys_are_needed_our_own_commands_go_on(tmp_path: Path) -> None:
    house = House(tmp_path, gateway="require_key = true")
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with house.serving() as running:
        url = f"{running.gateway_url}/v1/chat/completions"
        assert house.agent("chat", "--message", "hi").stdout == "You said: hi\n"
        assert httpx.post(url, json=body, trust_env=False, timeout=60).status_code == 401
        key = house.agent("keys", "create", "shop").stdout.strip()
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60).status_code == 200
        assert house.agent("keys", "revoke", "shop").returncode == 0
        assert httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60).status_code == 401


def test_servers_of_others(tmp_path: Path) -> None:
    """Two of them; one goes away and comes back."""
    with ModelServer(script=lambda _: Says("first"), key="k") as first, ModelServer(key="k") as second:
        both = ", ".join(f'{{url = "{server.url}", key_variable = "THEIR_KEY"}}' for server in (first, second))
        house = House(tmp_path, upstreams=f"upstreams = [{both}]")
        refused = house.agent("serve")
        assert refused.returncode == 2
        assert refused.stderr.startswith("agent: the environment has no THEIR_KEY, the key of http://127.0.0.1:")
        second.stop()
        house.environment["THEIR_KEY"] = "k"
        with house.serving() as running:
            wait_until(lambda: health(running.gateway_url)["status"] == "ok")
            assert house.agent("chat", "--message", "hi").stdout == "first\n"
            folder = make_adapter(house.data, "adapter-0001")
            lora_api.load(running.vllm_url, running.vllm_key, "adapter-0001", folder)
            assert first.models == ["base", "adapter-0001"]
            with ModelServer(key="k", port=int(second.url.rpartition(":")[2])) as back:
                wait_until(lambda: "adapter-0001" in back.models)
                wait_until(lambda: all(s["ready"] for s in health(running.gateway_url)["servers"]))  # type: ignore[attr-defined]
