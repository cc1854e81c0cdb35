"""Uncertainty sampling: several sampled replies to a request show whether the model hesitates between calls, or to
call at all.

Where it is unsure is where a lesson helps most (TT-SI: the margin between its two best answers).
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agent.config import PromptConfig
from agent.errors import ModelError
from agent.turn.choice import candidates
from agent.turn.messages import Message, Sampling
from agent.turn.prompt import request
from evolver.crew.crew import Crew, results
from evolver.crew.workshop import Workshop
from evolver.types import Call, SampledCalls, Task

_TIMES = 4
_TEMPERATURE = 0.8


SampleCalls = Callable[[Sequence[str]], Sequence[SampledCalls]]
"""Samples several replies to each request."""
_SURE = 0.5
"""The model is sure of a call when so much more of its replies make it than the next one."""


@dataclass(frozen=True)
class SampleOrder:
    """Asks ``model`` for a reply to ``text`` with the tools of serving, which ``prompt`` tells."""

    text: str
    model: str
    prompt: PromptConfig
    max_tokens: int

    def do(self, workshop: Workshop) -> str | None:
        """Return name and arguments of the first call as JSON; None for a reply without one, and where the server
        refuses. Raises ModelUnavailable."""
        sampling = Sampling(temperature=_TEMPERATURE, max_tokens=self.max_tokens)
        asked = [Message(role="user", content=self.text)]
        shown, further = candidates(partial(workshop.index.top, self.text), self.prompt)
        body = request(self.model, asked, shown, sampling, further=further)
        try:
            message = workshop.client.chat(body).message
        except ModelError:
            return None
        workshop.record("/v1/chat/completions", body, {"choices": [{"message": message.model_dump(mode="json")}]})
        calls = message.tool_calls
        made = calls and calls[0].arguments is not None
        return json.dumps([calls[0].name, calls[0].arguments], sort_keys=True) if made else None


def sample_calls(
    texts: Sequence[str], model: str, crew: Crew, *, prompt: PromptConfig, max_tokens: int
) -> list[SampledCalls]:
    """Return the first calls of ``model`` in 4 sampled replies to each of ``texts``, with the tools of serving.

    A reply that the server refuses counts as one without a call. Raises ModelUnavailable.
    """
    replies = results(crew, [SampleOrder(text, model, prompt, max_tokens) for text in texts for _ in range(_TIMES)])
    return [_counted(replies[n : n + _TIMES]) for n in range(0, len(replies), _TIMES)]


def _counted(replies: Sequence[str | None]) -> SampledCalls:
    made = Counter(reply for reply in replies if reply is not None)
    found = [(json.loads(key), count / len(replies)) for key, count in made.most_common()]
    return SampledCalls(
        calls=tuple((Call(name=name, arguments=arguments), share) for (name, arguments), share in found)
    )


def with_samples(tasks: list[Task], sample_calls: SampleCalls, limit: int) -> list[Task]:
    """Ask the newest requests without a working call several times; return ``tasks`` with the sampled calls."""
    open_ones = [task for task in tasks if task.kind in ("talk", "failed", "unserved")][-limit:]
    sampled = zip(open_ones, sample_calls([task.request for task in open_ones]), strict=True)
    found = {task.interaction_id: _by_margin(task, one) for task, one in sampled}
    return [found.get(task.interaction_id, task) for task in tasks]


def _by_margin(task: Task, sampled: SampledCalls) -> Task:
    shares = [share for _, share in sampled.calls]
    if not shares or sum(shares) < 1 - sum(shares):
        return task
    kind = "uncertain" if shares[0] - sum(shares[1:2]) < _SURE else "missed" if task.kind != "failed" else "failed"
    return task.model_copy(update={"kind": kind, "calls": tuple(call for call, _ in sampled.calls)})
