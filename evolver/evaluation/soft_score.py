"""The soft score of a request: the log-probability with which the served model gives the expected answer.

An exact call is one bit; its log-probability says how near the model is to it, so that fewer requests tell two models
apart. The server reads the prompt that it serves, with the same tools, and the answer in the form in which training
renders it. The bias of the calibration is added as the gateway adds it, on the first token. What the grammar rules out
is not taken away from the rest: under it the same call is at least as likely. Where the model chooses among tools, each
expected one is shown alone, and the share that their scores have among all candidates counts as one more token.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agent.adapters import package
from agent.config import PromptConfig
from agent.errors import ModelError
from agent.turn.choice import ToolChoice, candidates
from agent.turn.messages import BASE, Message, Sampling
from agent.turn.model_client import HttpModelClient
from agent.turn.prompt import request
from evolver.crew.workshop import Workshop
from evolver.evaluation.client_items import item_of
from evolver.evaluation.suites import Item
from evolver.lessons.client_tools import tool_of
from evolver.types import Call, Trace
from toolkit.search import ToolIndex
from toolkit.tool import Tool, ToolCall, ToolResult, render_result

LEAST = -25.0
"""Nats. Less likely answers, and calls of a tool that the search does not show, count as this: how far out of reach one
is says nothing."""

_ONE_TOKEN = Sampling(max_tokens=1)


@dataclass(frozen=True)
class SoftScoring:
    """Settings of a SoftScorer, without its client and its search; can be sent to another machine."""

    prompt: PromptConfig
    model: str
    bias: Mapping[str, float]
    after_call: bool = True

    def __call__(self, workshop: Workshop) -> "SoftScorer":
        """Return the scorer for ``workshop``."""
        return SoftScorer(workshop.client, workshop.index, self.prompt, self.model, self.bias, self.after_call)


@dataclass(frozen=True)
class SoftScorer:
    """Asks for the soft scores of ``model``, which is shown tools of ``index`` as ``prompt`` says.

    ``bias`` is what the gateway adds to the logits of a request with tools, by the token's id. ``after_call``: the
    template writes one token behind the end of a call, a line break, which nobody generates.
    """

    client: HttpModelClient
    index: ToolIndex
    prompt: PromptConfig
    model: str
    bias: Mapping[str, float] = field(default_factory=dict)
    after_call: bool = True

    def __call__(self, item: Item, results: Sequence[ToolResult]) -> float:
        """Return the soft score of ``item``, whose expected calls have ``results``; nats, ``LEAST`` to 0.

        Of a request that needs no tool: the log-probability that the answer does not begin as a call does. Raises
        ModelUnavailable and ModelError.
        """
        wanted = {call.name for call in item.expected}
        asked = [*item.history, Message(role="user", content=item.request)]
        tools, choice = self._tools(item, asked, wanted)
        if not item.expected:
            begun = self._answer(asked, [Call(name=tools[0].name, arguments={})], tools)[0] if tools else None
            return 0.0 if begun is None else max(LEAST, not_first(*begun, self.bias))
        if not wanted <= {tool.name for tool in tools}:
            return LEAST
        total = share(choice, wanted) if choice is not None else 0.0
        for step in _steps(item, alone=choice is not None):
            calls = [item.expected[n] for n in step]
            called = {call.name for call in calls}
            shown, said = tools, asked
            if choice is not None and not item.ordered:
                shown = [tool for tool in tools if tool.name in called]
                text = choice.asked_of(calls[0].name, item.request)
                said = [*item.history, Message(role="user", content=text)]
            (token, first), *rest = self._answer(said, calls, shown)
            total += as_first(token, first, self.bias) + math.fsum(logprob for _, logprob in rest)
            if item.ordered:
                asked += [_said(calls), *(_told(results[n]) for n in step)]
        return max(LEAST, total)

    def _tools(
        self, item: Item, asked: Sequence[Message], wanted: Collection[str]
    ) -> tuple[list[Tool], ToolChoice | None]:
        """Return the tools in the prompt, and the choice: with one those ``wanted``, else those that are chosen."""
        brought = tuple(map(tool_of, item.tools))
        shown, further = (brought, ()) if brought else candidates(partial(self.index.top, item.request), self.prompt)
        if not (shown and self.bias and self.prompt.judge_tools):
            return list(shown), None
        choice = self.client.chat(request(self.model, asked, shown, _ONE_TOKEN, further=further)).choice
        if choice is None:
            return list(shown), None
        known = {tool.name: tool for tool in (*shown, *further)}
        named = wanted or choice.shown
        return [known[tool.name] for tool in choice.judged if tool.name in named], choice

    def _answer(self, asked: list[Message], calls: Sequence[Call], tools: Sequence[Tool]) -> list[tuple[int, float]]:
        """Return id and log-probability of each token of ``calls`` as an answer to ``asked``, through its end."""
        read = self.client.read_prompt(self._body([*asked, _said(calls)], tools))
        before = self.client.chat(self._body(asked, tools)).usage.prompt_tokens  # of a prompt that is now in the cache
        return read[before - 1 : -1] if self.after_call else read[before - 1 :]

    def _body(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """The prompt is the same with the choice ``none``: only no grammar is built for the one token."""
        body = request(self.model, messages, tools, _ONE_TOKEN)
        return {**body, "tool_choice": "none"} if tools else body


def _steps(item: Item, *, alone: bool) -> list[list[int]]:
    """Return the numbers of the expected calls that one answer gives; ``alone``: those of each tool are one answer."""
    numbers = range(len(item.expected))
    if item.ordered:
        return [[number] for number in numbers]
    if not alone:
        return [[*numbers]]
    names = dict.fromkeys(call.name for call in item.expected)
    return [[number for number in numbers if item.expected[number].name == name] for name in names]


def call_likelihood(scoring: SoftScoring, workshop: Workshop, trace: Trace) -> float | None:
    """Return the log-probability (nats) with which the calls of ``trace`` follow its request alone.

    A client's are asked with its tools. None where their results are not known, where a client's call follows another,
    and where the server refuses. Raises ModelUnavailable.
    """
    if trace.client_turn is not None:
        return None if trace.sequential else _likelihood(scoring(workshop), item_of(trace), [])
    if len(trace.results) < len(trace.calls):
        return None
    item = Item(id=trace.id, request=trace.request, expected=trace.calls, ordered=trace.sequential)
    pairs = zip(trace.calls, trace.results, strict=True)
    results = [ToolResult(call_id=f"call-{n}", name=call.name, value=value) for n, (call, value) in enumerate(pairs)]
    return _likelihood(scoring(workshop), item, results)


def _likelihood(scorer: SoftScorer, item: Item, results: Sequence[ToolResult]) -> float | None:
    try:
        return scorer(item, results)
    except ModelError:
        return None


def share(choice: ToolChoice, wanted: Collection[str]) -> float:
    """Return the log-probability that each tool ``wanted`` is chosen over all others, by the softmax of the scores."""
    others = [tool.score for tool in choice.judged if tool.name not in wanted]
    mine = [tool.score for tool in choice.judged if tool.name in wanted]
    return -math.fsum(math.log1p(math.fsum(math.exp(other - score) for other in others)) for score in mine)


def bias_of(model: str, data_folder: Path) -> dict[str, float]:
    """Return the bias that the gateway adds to the logits of ``model`` in requests with tools."""
    if model == BASE or not (folder := package.folder_of(data_folder, model)).exists():
        return {}
    return package.read_manifest(folder).logit_bias or {}


def as_first(token: int, logprob: float, bias: Mapping[str, float]) -> float:
    """Return the log-probability of ``token`` where an answer begins, with its bias added to its logit."""
    added = bias.get(str(token), 0.0)
    return logprob + added - math.log1p(math.exp(logprob) * math.expm1(added))


def not_first(token: int, logprob: float, bias: Mapping[str, float]) -> float:
    """Return the log-probability of any other token there; minus infinity where ``token`` is certain."""
    chance = math.exp(logprob)
    if chance >= 1:
        return -math.inf
    return math.log1p(-chance) - math.log1p(chance * math.expm1(bias.get(str(token), 0.0)))


def _told(result: ToolResult) -> Message:
    return Message(role="tool", content=render_result(result), tool_result=result)


def _said(calls: Sequence[Call]) -> Message:
    made = [ToolCall(id=f"call-{n}", name=call.name, arguments=call.arguments) for n, call in enumerate(calls)]
    return Message(role="assistant", tool_calls=tuple(made))
