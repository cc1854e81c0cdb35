"""Requests that need no tool, each with the opening of the model's own answer."""

from evolver import few_shots
from evolver.generate import Generator, Prompt, distinct
from evolver.types import Trace

BATCH = 8
"""Requests sampled at once."""
_REQUEST_TOKENS, _REPLY_TOKENS = 32, 12


def small_talk(generator: Generator) -> list[Trace]:
    """One batch of traces. Raises as Generator does."""
    prompt = Prompt(text=few_shots.small_talk_prompt(), n=BATCH, max_tokens=_REQUEST_TOKENS, temperature=0.9)
    made = []
    for completion in distinct(generator.complete(prompt)):
        request = completion.text.strip()
        reply = generator.reply(request, max_tokens=_REPLY_TOKENS)
        answer = reply.text.strip() if reply.finished else opening(reply.text)
        if answer:
            trace = Trace(id="", maker="small_talk", request=request, answer=answer, open_end=not reply.finished)
            made.append(trace.model_copy(update={"likelihood": completion.likelihood}))
    return made


def opening(text: str) -> str:
    """The whole words of a text that was cut off, on its first line; "" where there is none."""
    first = text.strip().split("\n", 1)[0]
    return first if first != text.strip() else first.rpartition(" ")[0]
