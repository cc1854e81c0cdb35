"""Requests that need no tool, each with the opening of the model's own answer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from evolver.crew.workshop import Workshop
from evolver.lessons.drop_reason import DropReason
from evolver.model import prompts
from evolver.model.client import Prompt, distinct
from evolver.types import Trace, TraceKind

_REQUEST_TOKENS, _REPLY_TOKENS = 32, 12


@dataclass(frozen=True)
class NoToolRequests:
    """Makes one batch of traces."""

    BATCH: ClassVar[int] = 8
    """Requests sampled at once."""

    def make(self, workshop: Workshop, dropped: Counter[DropReason], late: Callable[[], bool]) -> list[Trace]:
        """Make the traces; none is counted in ``dropped``. Raises as Generator does."""
        generator = workshop.generator
        prompt = Prompt(text=prompts.no_tool_prompt(), n=self.BATCH, max_tokens=_REQUEST_TOKENS, temperature=0.9)
        made = []
        for completion in distinct(generator.complete(prompt)):
            request = completion.text.strip()
            reply = generator.reply(request, max_tokens=_REPLY_TOKENS)
            answer = reply.text.strip() if reply.finished else opening(reply.text)
            if answer:
                trace = Trace(
                    id="", kind=TraceKind.NO_TOOL, request=request, answer=answer, open_end=not reply.finished
                )
                made.append(trace.model_copy(update={"mean_logprob": completion.mean_logprob}))
        return made


def opening(text: str) -> str:
    """Return the whole words of a text that was cut off, on its first line; "" where there is none."""
    first = text.strip().split("\n", 1)[0]
    return first if first != text.strip() else first.rpartition(" ")[0]
