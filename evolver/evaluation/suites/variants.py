"""The same requests with other schemas: does the model read what it is shown, or does it know the tools by heart?

``shuffled``: the tools, and the parameters of each, stand in another order. ``renamed``: every tool and parameter has a
name that says nothing, so that only the descriptions tell what they are for.
"""

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agent.config import LoopConfig, PromptConfig
from agent.turn.choice import candidates
from agent.turn.loop import Agent, CallExecutor
from agent.turn.messages import Trajectory
from agent.turn.model_client import ModelClient
from evolver.lessons.rename_tools import RenamedTool, rename_tool, shuffle_parameters
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolCall, ToolResult

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
    """Run a turn with the variants of the tools that serving would show; the calls and results returned have the tools'
    own names."""
    shown, further = candidates(partial(index.top, request), prompt)
    found = [*tools_of_variant(request, variant, shown), *tools_of_variant(request, variant, further)]
    known = {renamed.shown.name: renamed for renamed in found}
    agent = Agent(client, _Translator(executor, known), _Found([renamed.shown for renamed in found]), limits, prompt)
    return _translated(agent.run(request, model=model), known)


def tools_of_variant(request: str, variant: str, tools: Sequence[Tool]) -> list[RenamedTool]:
    """Return ``tools`` as the ``variant`` of ``request`` shows them; the same for the same request."""
    rng = random.Random(f"{variant} {request}")
    change = shuffle_parameters if variant == "shuffled" else rename_tool
    changed = [change(tool, rng) for tool in tools]
    rng.shuffle(changed)
    return changed


class _Found:
    """A search that has found ``tools``, in this order."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = list(tools)

    def top(self, query: str, top_k: int) -> list[Tool]:
        return self._tools[:top_k]


class _Translator:
    """Runs a call of a renamed tool under the tool's own name; the result and its error keep the shown names."""

    def __init__(self, executor: CallExecutor, known: dict[str, RenamedTool]) -> None:
        self._executor = executor
        self._known = known

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult:
        result = self._executor.execute(_own_call(call, self._known), workspace=workspace)
        renamed = self._known.get(call.name)
        if renamed is None:
            return result
        error = result.error and renamed.error(result.error)
        return result.model_copy(update={"name": call.name, "error": error})


def _translated(turn: Trajectory, known: dict[str, RenamedTool]) -> Trajectory:
    messages = []
    for message in turn.messages:
        result = message.tool_result
        if result is not None and result.name in known:
            result = result.model_copy(update={"name": known[result.name].own})
        calls = tuple(_own_call(call, known) for call in message.tool_calls)
        messages.append(message.model_copy(update={"tool_calls": calls, "tool_result": result}))
    return turn.model_copy(update={"messages": tuple(messages)})


def _own_call(call: ToolCall, known: dict[str, RenamedTool]) -> ToolCall:
    renamed = known.get(call.name)
    if renamed is None:  # a tool's own name, from memory, is none that was shown
        return call.model_copy(update={"name": f"?{call.name}"})
    arguments = call.arguments
    if arguments is not None:
        arguments = {renamed.parameters.get(name, f"?{name}"): value for name, value in arguments.items()}
    return call.model_copy(update={"name": renamed.own, "arguments": arguments})
