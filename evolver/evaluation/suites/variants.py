"""The same requests with other schemas: does the model read what it is shown, or does it know the tools by heart?

``shuffled``: the tools, and the parameters of each, stand in another order. ``renamed``: every tool and parameter has a
name that says nothing, so that only the descriptions tell what they are for.
"""

import random
from pathlib import Path

from agent.config import LoopConfig, PromptConfig
from agent.loop import Agent, CallExecutor
from agent.messages import Trajectory
from agent.model_client import ModelClient
from evolver.disguise import Disguise, renamed, shuffled
from toolkit.search import ToolIndex
from toolkit.tool import ToolCall, ToolResult

VARIANTS = ("shuffled", "renamed")


def run(
    request: str,
    model: str,
    variant: str,
    *,
    client: ModelClient,
    executor: CallExecutor,
    index: ToolIndex,
    limits: LoopConfig,
    prompt: PromptConfig,
) -> Trajectory:
    """A turn in which the tools that serving would show are disguised; in what is returned, calls and results have the
    tools' own names."""
    chooser = random.Random(f"{variant} {request}")
    tools = index.top(request, prompt.tools_in_prompt)
    disguises = [shuffled(tool, chooser) if variant == "shuffled" else renamed(tool, chooser) for tool in tools]
    chooser.shuffle(disguises)
    known = {disguise.shown.name: disguise for disguise in disguises}
    agent = Agent(client, _Translator(executor, known), index, limits, prompt)
    return _translated(agent.run(request, model=model, tools=[disguise.shown for disguise in disguises]), known)


class _Translator:
    """Runs a disguised call as what it is; its result, and what it says of an error, keep the disguise."""

    def __init__(self, executor: CallExecutor, known: dict[str, Disguise]) -> None:
        self._executor = executor
        self._known = known

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult:
        result = self._executor.execute(_own_call(call, self._known), workspace=workspace)
        disguise = self._known.get(call.name)
        if disguise is None:
            return result
        error = result.error and disguise.error(result.error)
        return result.model_copy(update={"name": call.name, "error": error})


def _translated(turn: Trajectory, known: dict[str, Disguise]) -> Trajectory:
    messages = []
    for message in turn.messages:
        result = message.tool_result
        if result is not None and result.name in known:
            result = result.model_copy(update={"name": known[result.name].own})
        calls = tuple(_own_call(call, known) for call in message.tool_calls)
        messages.append(message.model_copy(update={"tool_calls": calls, "tool_result": result}))
    return turn.model_copy(update={"messages": tuple(messages)})


def _own_call(call: ToolCall, known: dict[str, Disguise]) -> ToolCall:
    disguise = known.get(call.name)
    if disguise is None:  # a tool's own name, from memory, is none that was shown
        return call.model_copy(update={"name": f"?{call.name}"})
    arguments = call.arguments
    if arguments is not None:
        arguments = {disguise.parameters.get(name, f"?{name}"): value for name, value in arguments.items()}
    return call.model_copy(update={"name": disguise.own, "arguments": arguments})
