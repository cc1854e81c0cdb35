"""Traces of clients with tools of their own -> rows, as the conversations were served: no tool is renamed or moved.

Beside them stand requests that need no tool, with the client's tools and system text: else a lesson with these tools
would always be one that calls. What a person said stands with tools of the same API key and source alone.
"""

import random
from collections.abc import Iterable, Sequence

from agent.turn.prompt import to_openai
from evolver.config import DatasetConfig
from evolver.dataset.rows import Row, row_of
from evolver.types import Trace


def client_rows(config: DatasetConfig, traces: Sequence[Trace], rng: random.Random) -> list[Row]:
    """Return a row for each served one of ``traces``, and a ``no_call_share`` of all for requests that need no tool."""
    served = [trace for trace in traces if trace.client_turn is not None]
    calling = [trace for trace in served if trace.calls]
    talk = [trace for trace in traces if trace.client_turn is None and not trace.calls and not trace.history]
    fitting = [(client, said) for client in calling if (said := _said_to(client, talk))]
    share = config.no_call_share
    wanted = round(len(calling) * share / (1 - share)) - (len(served) - len(calling))
    drawn = [rng.choice(fitting) for _ in range(wanted if fitting else 0)]
    others = [_spoken_row(f"client-s{n}", rng.choice(said), client) for n, (client, said) in enumerate(drawn)]
    return [*(_served_row(f"client-{n}", trace) for n, trace in enumerate(served)), *others]


def _said_to(client: Trace, talk: Sequence[Trace]) -> list[Trace]:
    """Return the traces of ``talk`` that fit beside the tools of ``client``: generated ones, and those of its key."""
    return [trace for trace in talk if not trace.provenance.interactions or _place(trace) == _place(client)]


def _place(trace: Trace) -> tuple[str, ...]:
    """Return source, tenant and owner; of a trace that is of no session, what no other has."""
    return tuple(trace.provenance.session.split("/", 3)[:3]) if trace.provenance.session else (trace.id,)


def without_served(traces: Iterable[Trace]) -> list[Trace]:
    """Return the traces that are not a client's."""
    return [trace for trace in traces if trace.client_turn is None]


def _served_row(identity: str, trace: Trace) -> Row:
    assert trace.client_turn is not None
    messages = [*trace.history, *trace.client_turn.messages]
    first = trace.client_turn.messages[trace.client_turn.targets[0]]
    decision = None if trace.failures else "call" if first.tool_calls else "no_call"
    places = [len(trace.history) + place for place in trace.client_turn.targets]
    return row_of(trace, identity, to_openai(messages[: places[-1] + 1]), trace.client_turn.tools, places, decision)


def _spoken_row(identity: str, trace: Trace, client: Trace) -> Row:
    """Return the row of a request that needs no tool, as this client would have asked it."""
    assert client.client_turn is not None
    system = [message for message in client.history[:1] if message.role == "system"]
    said = [{"role": "user", "content": trace.request}, {"role": "assistant", "content": trace.answer}]
    sources = tuple(sorted(trace.provenance.interactions | client.provenance.interactions))
    messages = [*to_openai(system), *said]
    row = row_of(
        trace.sourced(other_interaction_ids=sources), identity, messages, client.client_turn.tools, [len(system) + 1],
        "no_call",
    )  # fmt: skip
    return row | {"open_end": trace.open_end}
