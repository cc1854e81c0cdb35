"""Does an adapter still chat as the base model does? The distance between their next words on requests without tools.

The base model answers each request greedily; both models then read that answer and say, word by word, what they would
have written. Forgetting tracks this distance. Each model names its 20 likeliest tokens; those that only one names, and
all others, count as one, so that what is reported is a lower bound of the Kullback-Leibler divergence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.turn.messages import BASE
from evolver.crew.crew import Crew, results
from evolver.crew.workshop import Workshop
from evolver.errors import StageError
from evolver.evaluation.suites import Suite
from evolver.model.client import Generator
from evolver.scores import ChatReport
from evolver.statistics import mean_half_width, rate
from toolkit.frozen import Frozen

NAME = "chat"
_TOP = 20
_ANSWER_TOKENS = 48
_FLOOR = 1e-9

Distribution = Mapping[str, float]
"""Probabilities by token id."""


class Distance(Frozen):
    """Distance on one request: nats summed over ``tokens``, and how often both models have the same likeliest token."""

    nats: float
    tokens: int
    agreed: int


@dataclass(frozen=True)
class DistanceOrder:
    """Measures the distance of ``model`` on ``request``."""

    request: str
    model: str

    def do(self, workshop: Workshop) -> Distance:
        """Measure one request. Raises ModelUnavailable and StageError."""
        return _distance(self.request, self.model, workshop.generator)


def drift(suite: Suite, model: str, crew: Crew) -> ChatReport:
    """Measure KL(model ‖ base) in nats per token on the requests of ``suite``, sent without tools. Raises
    ModelUnavailable and StageError."""
    found = results(crew, [DistanceOrder(item.request, model) for item in suite.items])
    tokens = sum(one.tokens for one in found)
    if not tokens:
        raise StageError(f"suite {suite.name} gave no answer to compare")
    each = [one.nats / one.tokens for one in found if one.tokens]
    mean = sum(one.nats for one in found) / tokens
    half = mean_half_width(each)
    return ChatReport(
        model=model,
        suite=NAME,
        suite_sha256=suite.sha256,
        prompts=len(each),
        tokens=tokens,
        kl=mean,
        kl_low=max(0.0, mean - half),
        kl_high=mean + half,
        same_first=rate(sum(one.agreed for one in found), tokens),
    )


def divergence(first: Distribution, second: Distribution) -> float:
    """Return a lower bound of KL(first ‖ second) from their likeliest tokens."""
    shared = [token for token in first if token in second]
    pairs = [(first[token], second[token]) for token in shared]
    pairs.append((1 - sum(p for p, _ in pairs), 1 - sum(q for _, q in pairs)))
    return max(0.0, sum(p * math.log(p / max(q, _FLOOR)) for p, q in pairs if p > _FLOOR))


def _distance(request: str, model: str, server: Generator) -> Distance:
    messages = [{"role": "user", "content": request}]
    asked = {"model": BASE, "messages": messages, "temperature": 0.0, "max_tokens": _ANSWER_TOKENS}
    answered = server.ask("/v1/chat/completions", asked)
    begin = answered["usage"]["prompt_tokens"]
    count = answered["usage"]["completion_tokens"]
    answer = {"role": "assistant", "content": answered["choices"][0]["message"].get("content") or ""}
    mine, base = (_read(server, name, [*messages, answer])[begin : begin + count] for name in (model, BASE))
    pairs = list(zip(mine, base, strict=True))
    return Distance(
        nats=sum(divergence(one, other) for one, other in pairs),
        tokens=len(pairs),
        agreed=sum(max(one, key=one.__getitem__) == max(other, key=other.__getitem__) for one, other in pairs),
    )


def _read(server: Generator, model: str, messages: Sequence[Mapping[str, str]]) -> list[Distribution]:
    """Return ``model``'s distribution over the token at each position of the rendered ``messages``."""
    body = {
        "model": model,
        "messages": list(messages),
        "add_generation_prompt": False,
        "prompt_logprobs": _TOP,
        "max_tokens": 1,
        "temperature": 0.0,
    }
    positions = server.ask("/v1/chat/completions", body).get("prompt_logprobs")
    if not isinstance(positions, list):
        raise StageError("the server gives no prompt_logprobs, so the distance to the base model is not known")
    return [_distribution(position or {}) for position in positions]


def _distribution(position: Mapping[str, Any]) -> Distribution:
    """The likeliest tokens; what was written is among them only when it is likely."""
    ranked = {token: entry for token, entry in position.items() if (entry.get("rank") or _TOP + 1) <= _TOP}
    return {token: math.exp(entry["logprob"]) for token, entry in ranked.items()} or {"": 1.0}
