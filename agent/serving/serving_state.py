"""data/serving.json: how the other commands find the server that ``agent serve`` runs."""

import json
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from agent.config import AgentConfig
from agent.errors import NO_SERVER, ModelUnavailable
from agent.serving import announcement
from agent.serving.announcement import FILE
from agent.serving.chat_start import ChatStart
from agent.storage.process_start import start_time
from agent.turn.prompt import PROMPT_VERSION
from toolkit import durable_file
from toolkit.errors import UserError
from toolkit.frozen import Frozen


class HostedAddress(Frozen):
    """Address and key of a vLLM that runs on a node of a cluster."""

    model_config = ConfigDict(extra="ignore")

    url: str
    key: str


class ServingState(Frozen):
    """A running server. The file holds keys, so only its owner may read it (mode 0600).

    ``vllm_url`` and ``vllm_key``: the address (``agent.http.address``) and key of the door where adapters are loaded,
    on all servers at once; it passes on what else vLLM knows.
    ``hosted``: the servers on nodes of a cluster, each by itself, to be asked and not to be changed.
    ``gateway_key`` opens the gateway to apprentice's own commands, also where keys are needed.

    ``prompt_version`` names the chat template that is served. ``settings`` are those on which answers depend, as they
    were at the start (``answer_settings``); {} where the server does not tell.
    ``chat`` tells who asks the agent in this server; None where nobody can.
    ``started`` tells the process ``pid`` from a later one with the same number; "" where that cannot be told.
    """

    model_config = ConfigDict(extra="ignore")

    pid: int
    gateway_url: str
    vllm_url: str
    vllm_pid: int
    vllm_key: str
    gateway_key: str = ""
    started: str = ""
    prompt_version: str = PROMPT_VERSION
    settings: dict[str, str | bool] = Field(default_factory=dict)
    hosted: tuple[HostedAddress, ...] = ()
    chat: ChatStart | None = None


def answer_settings(config: AgentConfig) -> dict[str, str | bool]:
    """Return the settings on which answers depend and that take effect when the server starts."""
    serving = config.serving
    return {
        "[agent.serving] model": serving.model,
        "[agent.serving.vllm_process] constrain_calls": serving.vllm_process.constrain_calls,
        "[agent.prompt] judge_tools": config.prompt.judge_tools,
    }


def check_settings(state: ServingState, config: AgentConfig) -> None:
    """Raise UserError where ``config`` was changed since the server of ``state`` started, so that scores would be of
    another setting than they are filed under."""
    for name, now in answer_settings(config).items():
        if state.settings.get(name, now) != now:
            before = json.dumps(state.settings[name])
            raise UserError(
                f"{name} is {json.dumps(now)} here, and was {before} when the server started; start both with the same "
                "config.toml: agent stop, agent serve --detach, and a running evolver daemon too"
            )


def path(data_folder: Path) -> Path:
    return data_folder / FILE


def read(data_folder: Path) -> ServingState | None:
    """Return the server that is running now; None if there is none, or its file is from a server that is gone."""
    try:
        return ServingState.model_validate(announcement.read(data_folder))
    except ValidationError:
        return None


def running(data_folder: Path) -> ServingState:
    """Return the server that is running now. Raises ModelUnavailable if there is none."""
    state = read(data_folder)
    if state is None:
        raise ModelUnavailable(NO_SERVER)
    return state


def write(data_folder: Path, state: ServingState) -> None:
    """Announce ``state``; readers see it whole or not at all."""
    state = state.model_copy(update={"started": start_time(state.pid) or ""})
    durable_file.replace(path(data_folder), state.model_dump_json().encode())


def remove(data_folder: Path, pid: int) -> None:
    """Take back the announcement of ``pid``; that of another process stays."""
    state = read(data_folder)
    if state is None or state.pid == pid:
        path(data_folder).unlink(missing_ok=True)
