"""Traffic of an application: its requests as people put them, in conversations.

A fifth of the turns stand in conversations of two or three. Some requests are put by two sessions in the same words,
some turns object to the one before, and some answers get a word of feedback.
"""

import random
from collections.abc import Sequence

from benchmarks.clients.requests import Request
from toolkit.frozen import Frozen

OBJECTION = "No, I meant this: "
_LONGER, _OBJECTED, _REPEATED, _JUDGED = 5, 25, 10, 10
"""One turn in so many: stands in a longer conversation, is objected to, is put again by another session, is judged."""


class Turn(Frozen):
    """A turn by its ``number`` among those of the application, and the ``session`` that it stands in. ``judged``:
    somebody says whether the application got what the request is for."""

    number: int
    session: int
    request: Request
    judged: bool = False


Conversation = tuple[Turn, ...]


def repeats(count: int) -> int:
    """Return how many of ``count`` turns put the request of another session in the same words."""
    return count // _REPEATED


def alone(requests: Sequence[Request]) -> list[Conversation]:
    """Return each request as a conversation of its own."""
    return [(Turn(number=n, session=n, request=one),) for n, one in enumerate(requests)]


def conversations(application: str, requests: Sequence[Request], again: int, *, seed: int = 7) -> list[Conversation]:
    """Return the traffic with these requests, ``again`` of them put twice. The same at each call."""
    rng = random.Random(f"{application} traffic {seed}")
    count, left = len(requests) + again, list(requests)
    rng.shuffle(left)
    longer = [_objected(left) for _ in range(max(1, count // _OBJECTED))]
    objecting = len(longer)
    while (missing := count // _LONGER - sum(map(len, longer))) > 1:
        size = rng.choice([n for n in (2, 3) if missing - n not in (-1, 1)])
        longer.append([left.pop() for _ in range(size)])
    asked_again = rng.sample([one for one in left if one.expected], again)
    parts = [*((one, False) for one in longer[:objecting]), *((one, True) for one in longer[objecting:])]
    parts += [([one], True) for one in (*left, *asked_again)]
    rng.shuffle(parts)
    judgeable = [(n, k) for n, (part, may) in enumerate(parts) for k, one in enumerate(part) if may and one.expected]
    return _numbered([part for part, _ in parts], set(rng.sample(judgeable, count // _JUDGED)))


def _objected(left: list[Request]) -> list[Request]:
    """Take two requests for one tool out of ``left``: the second is what was meant with the first."""
    needed = [one.expected[0].name if one.expected else "" for one in left]
    first = next(n for n, name in enumerate(needed) if name and name in needed[n + 1 :])
    second = needed.index(needed[first], first + 1)
    meant, said = left.pop(second), left.pop(first)
    return [said, meant.model_copy(update={"text": f"{OBJECTION}{meant.text}"})]


def _numbered(parts: Sequence[Sequence[Request]], judged: set[tuple[int, int]]) -> list[Conversation]:
    found: list[Conversation] = []
    number = 0
    for session, part in enumerate(parts):
        turns = [
            Turn(number=number + k, session=session, request=one, judged=(session, k) in judged)
            for k, one in enumerate(part)
        ]
        found.append(tuple(turns))
        number += len(part)
    return found
