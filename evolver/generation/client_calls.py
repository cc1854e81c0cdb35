"""Clients' tools -> traces: calls made up under their schemas, with values from the client's own log, and a request
for each.

Nothing runs, so that there is no result, and nothing proves that such a call would work. What is left are the schema,
the checks of the request and the round trip (docs/decisions/0104).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.turn.messages import Message
from evolver.config import MakeConfig
from evolver.crew.workshop import Workshop
from evolver.generation.back_translation import Dropped, arguments_prompt, request_prompt
from evolver.lessons import client_turn
from evolver.lessons.client_tools import ClientTool
from evolver.lessons.drop_reason import DropReason
from evolver.model.client import Completion, Generator, Prompt, distinct, json_object
from evolver.types import Call, ClientTurn, Provenance, Trace, TraceKind
from toolkit.tool import ToolCall


@dataclass(frozen=True)
class ClientCalls:
    """Makes traces of the tool of a ``client``."""

    config: MakeConfig
    client: ClientTool
    seed: int

    def make(self, workshop: Workshop, dropped: Dropped, late: Callable[[], bool]) -> list[Trace]:
        """Return the traces; what came to nothing is counted in ``dropped``. ``late`` says that no further request is
        to be written. Raises as Generator does."""
        client, generator = self.client, workshop.generator
        asking = arguments_prompt(
            client.tool, self.seed, examples=True, values=client.values, n=self.config.client_calls
        )
        made: list[Trace] = []
        for call in _calls(client, [one.text for one in _asked(generator, asking, client)], dropped):
            if late():
                dropped[DropReason.OUT_OF_TIME] += 1
                break
            written = distinct(_asked(generator, request_prompt(self.config, client.tool, call), client))
            if not written:
                dropped[DropReason.REQUESTS_CUT_OFF] += 1
            made += [_trace(client, call, one.text.strip(), one.mean_logprob) for one in written]
        return made


def _asked(generator: Generator, prompt: Prompt, client: ClientTool) -> list[Completion]:
    """Ask, and let the log of requests name the interactions whose values are in the prompt."""
    return generator.complete(prompt.model_copy(update={"sources": client.interactions}))


def _calls(client: ClientTool, texts: Sequence[str], dropped: Dropped) -> list[Call]:
    found: dict[str, Call] = {}
    for text in texts:
        arguments = json_object(text)
        if arguments is None:
            dropped[DropReason.ARGUMENTS_CUT_OFF] += 1
        elif reason := client_turn.problem(client.tool, arguments):
            dropped[reason] += 1
        elif found.setdefault(json.dumps(arguments, sort_keys=True), call := _call(client, arguments)) is not call:
            dropped[DropReason.SAME_ARGUMENTS] += 1
    return list(found.values())


def _call(client: ClientTool, arguments: dict[str, object]) -> Call:
    return Call.model_validate({"name": client.tool.name, "arguments": arguments})


def _trace(client: ClientTool, call: Call, request: str, mean_logprob: float) -> Trace:
    said = Message(role="assistant", tool_calls=(ToolCall(id="call-0", **call.model_dump()),))
    return Trace(
        id="",
        kind=TraceKind.BACK_TRANSLATION,
        request=request,
        calls=(call,),
        mean_logprob=mean_logprob,
        history=client.history,
        client_turn=ClientTurn(
            tools=client.tools, messages=(Message(role="user", content=request), said), targets=(1,)
        ),
        provenance=Provenance(other_interaction_ids=client.interactions, not_executed=True),
    )
