"""Calls and results in text, as smolagents writes them: a turn keeps its adapter, and the log has all of it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from smolagents import OpenAIModel, ToolCallingAgent, tool

from agent.log.interaction_log import InteractionLog
from agent.serving.gateway import smolagents_format
from agent.serving.gateway.capture import latest_results
from agent.turn.messages import Interaction
from tests.fakes.adapter_folder import make_adapter
from tests.fakes.model_gateway import running_gateway
from tests.fakes.model_server import ModelServer, Says

pytestmark = pytest.mark.filterwarnings("ignore")  # of another one's package
CALLED = (
    "Calling tools:\n[{'id': 'c1', 'type': 'function', 'function': {'name': 'add', 'arguments': {'a': 1, 'b': 2}}}]"
)
FAILED = "Error:\nno\nNow let's retry: take care not to repeat previous errors! If ...\n"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


class House:
    """A gateway, what the server behind it was asked, and an agent with the tool ``add`` in front of it."""

    def __init__(self, data: Path, url: str, server: ModelServer, add: Callable[[float, float], float]) -> None:
        self.data, self.server = data, server
        model = OpenAIModel(model_id="agent", api_base=f"{url}/v1", api_key="none")
        self.agent = ToolCallingAgent(tools=[tool(add)], model=model, max_steps=6, verbosity_level=0)

    def asked(self) -> list[str]:
        return [request["model"] for request in self.server.requests]

    def logged(self) -> list[Interaction]:
        """To be read after the gateway has ended."""
        with InteractionLog(self.data / "interactions.db") as log:
            return log.read()


@contextmanager
def house(
    data: Path, calls: list[list[tuple[str, str]]], result: Callable[[], float], text: str = ""
) -> Iterator[House]:
    """The model calls ``calls`` in turn; ``result`` is run in the midst of a turn, and says what ``add`` returns."""

    def add(a: float, b: float) -> float:
        """Add two numbers.

        Args:
            a: the first number
            b: the second number
        """
        return result()

    numbers = itertools.count()
    replies = iter(calls)
    with (
        InteractionLog(data / "interactions.db") as log,
        ModelServer(script=lambda _: Says(text, calls=next(replies), call_id=f"call-{next(numbers)}-")) as server,
        running_gateway(data, server, log) as (_, url),
    ):
        yield House(data, url, server, add)


ADD, END = ("add", '{"a": 1, "b": 2}'), ("final_answer", '{"answer": "3"}')


@pytest.mark.parametrize("text", ["", "I add them."])
def test_a_turn_keeps_its_adapter_and_is_logged_whole(tmp_path: Path, text: str) -> None:
    make_adapter(tmp_path, "adapter-0001", promote=True)

    def promote() -> float:
        make_adapter(tmp_path, "adapter-0002", promote=True)
        return 3.0

    with house(tmp_path, [[ADD], [END], [END]], promote, text) as opened:
        assert opened.agent.run("What is 1 plus 2?") == "3"
        assert opened.asked() == ["adapter-0001", "adapter-0001"]
        opened.agent.run("And now?", reset=False)
        assert opened.asked()[2] == "adapter-0002"
    begun, ended, new = opened.logged()
    assert [i.continues for i in (begun, ended, new)] == ["", begun.id, ""]
    turn = ended.trajectory
    assert [message.role for message in turn.messages] == ["user", "assistant", "tool", "assistant"]
    assert turn.messages[0].content == "New task:\nWhat is 1 plus 2?"
    assert turn.messages[1].content == text
    assert [call.name for call in turn.calls] == ["add", "final_answer"]
    assert (turn.calls[0].id, turn.calls[0].arguments) == ("call-0-0", {"a": 1, "b": 2})
    (result,) = turn.results
    assert (result.call_id, result.name, result.value) == ("call-0-0", "add", 3.0)
    assert [message.role for message in new.trajectory.history][-2:] == ["assistant", "tool"]
    assert new.trajectory.messages[0].content == "And now?"


def test_a_later_call_that_raises_does_not_end_the_turn(tmp_path: Path) -> None:
    make_adapter(tmp_path, "adapter-0001", promote=True)
    results = iter([3.0])

    def fail_then() -> float:
        if (result := next(results, None)) is not None:
            return result
        make_adapter(tmp_path, "adapter-0002", promote=True)
        raise ValueError("no such number")

    with house(tmp_path, [[ADD], [ADD], [END]], fail_then, "I add them.") as opened:
        opened.agent.run("What is 1 plus 2?")
        assert opened.asked() == ["adapter-0001"] * 3
    *_, ended = opened.logged()
    assert [(call.name, call.arguments is None) for call in ended.trajectory.calls] == [
        ("add", False),
        ("", True),
        ("final_answer", False),
    ]
    assert [result.ok for result in ended.trajectory.results] == [True, False]


def test_results_that_nobody_can_tell_apart_are_of_no_call(tmp_path: Path) -> None:
    with house(tmp_path, [[ADD, ADD], [END]], lambda: 3.0) as opened:
        opened.agent.run("Twice, please.")
    begun, ended = opened.logged()
    assert ended.continues == begun.id
    assert [call.name for call in ended.trajectory.calls] == ["add", "add", "final_answer"]
    assert ended.trajectory.messages[2].content == "3.0\n3.0"
    assert ended.trajectory.results == ()


@pytest.mark.parametrize(
    "messages",
    [
        [user("Observation:\n3")],
        [user("hi"), assistant("Calling a friend."), user("Observation:\n3")],
        [user("hi"), assistant("Calling tools:\n[1, 2]"), user("hello")],
        [user("hi"), assistant("Calling tools:\n[{'id': __import__('os')}]"), user("hello")],
        [user("hi"), assistant("Calling tools:\n[" + "-" * 9000 + "1]"), user("hello")],
        [user("hi"), assistant("Calling tools:\n[" + "[" * 9000 + "]" * 9000 + "]"), user("hello")],
        [user("hi"), assistant(CALLED + "\nand more"), user("Observation:\n3")],
        [user("hi"), assistant("x"), user("Error:\nmy program stops here")],
        [user(FAILED)],
    ],
)
def test_what_only_looks_like_it_stays_as_it_is(messages: list[dict[str, Any]]) -> None:
    assert smolagents_format.as_messages(messages) == messages
    assert latest_results(messages) == []


def test_the_newest_result_is_told() -> None:
    begun = [user("hi"), assistant(CALLED)]
    assert latest_results([*begun, user("Observation:\n3")]) == ["3"]
    assert latest_results([*begun, user(f"Call id: c1\n{FAILED}")]) == [FAILED]
    assert latest_results([*begun, user("Observation:\n3"), assistant("It is 3.")]) == []
