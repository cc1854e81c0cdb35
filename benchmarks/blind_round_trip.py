"""A blind round trip, for the benchmark of evolution: a request must bring its tool back among rivals.

The round trip of verification gives the model the one tool. Here what serves is asked about the request with each of
several tools alone: its own, and the best other ones of the search. A lesson is kept where none of the others makes a
call likelier. It costs three questions of two requests each per lesson that passed everything else, and is asked from
the second cycle on: the base model calls nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from agent.adapters import active
from agent.config import PromptConfig
from agent.serving.serving_state import ServingState
from agent.turn.messages import BASE
from agent.turn.model_client import HttpModelClient
from evolver.config import Config, VerifyConfig
from evolver.context import StageContext
from evolver.cycle import run
from evolver.evaluation.soft_score import SoftScorer
from evolver.evaluation.suites import Item
from evolver.store.jsonl import read_lines, write_lines
from evolver.types import Trace, Verdict, Verified
from toolkit.search import ToolIndex
from toolkit.tool import Tool

RIVALS = 2
REASON = "another_tool_wins"

Silence = Callable[[str, Tool], float]
"""Log-probability that no call answers a request where the tool is the only one; nats."""


@contextmanager
def blind_round_trip(config: Config, serving: ServingState) -> Iterator[None]:
    """Let the cycles of this process judge blindly, too, what their verification keeps, while the block runs."""
    plain = run.verify

    def verify(context: StageContext, settings: VerifyConfig, traces: Sequence[Trace]) -> Verified:
        verified, model = plain(context, settings, traces), active.read(config.data_folder).name
        return verified if model == BASE else judged(verified, context, silence_of(client, model))

    with HttpModelClient(serving.gateway_url, serving.gateway_key) as client:
        run.verify = verify
        try:
            yield
        finally:
            run.verify = plain


def silence_of(client: HttpModelClient, model: str) -> Silence:
    """Return the question how likely ``model`` is to make no call."""

    def silence(request: str, tool: Tool) -> float:
        return SoftScorer(client, ToolIndex([tool]), PromptConfig(tools_in_prompt=1), model)(
            Item(id="blind", request=request), ()
        )

    return silence


def judged(verified: Verified, context: StageContext, silence: Silence) -> Verified:
    """Return ``verified`` without the traces that ``wins`` denies, and write its files anew. Traces without calls, and
    those whose request and calls are a person's, stay."""
    kept = read_lines(verified.file, Trace)
    asked = [trace for trace in kept if trace.calls and not trace.lived]
    with ThreadPoolExecutor(context.generator.concurrency) as pool:
        won = list(pool.map(lambda trace: wins(trace, context.policy.index, silence), asked))
    lost = {trace.id for trace, is_won in zip(asked, won, strict=True) if not is_won}
    verdicts = read_lines(verified.verdicts_file, Verdict)
    told = [
        Verdict(trace_id=one.trace_id, kept=False, reason=REASON) if one.trace_id in lost else one for one in verdicts
    ]
    left = [trace for trace in kept if trace.id not in lost]
    write_lines(verified.verdicts_file, told)
    write_lines(verified.file, left)
    return verified.model_copy(
        update={
            "kept": len(left),
            "kept_by_kind": dict(Counter(trace.kind for trace in left)),
            "dropped": {**verified.dropped, REASON: len(lost)},
        }
    )


def wins(trace: Trace, index: ToolIndex, silence: Silence) -> bool:
    """Return whether no rival makes a call likelier than the tool of ``trace`` does; of several tools, each of them."""
    called = {call.name for call in trace.calls}
    found = {tool.name: tool for tool in index.top(trace.request, RIVALS + len(called))}
    rivals = [tool for name, tool in found.items() if name not in called][:RIVALS]
    if not called <= found.keys():  # verification found it among the first three
        return False
    weakest = max(silence(trace.request, found[name]) for name in sorted(called))
    return all(weakest <= silence(trace.request, rival) for rival in rivals)
