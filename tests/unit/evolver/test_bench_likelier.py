"""The ablation that learns the better three fifths of the traces."""

from benchmarks.ablations import ABLATIONS, likelier_traces
from benchmarks.likelier import likelier
from evolver.types import TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace

TOOLS = list(shop_tools.registry())
GOOD = [
    trace(f"Please add the prices {n} and 34.", "add_prices", {"first": n, "second": 34}, n + 34).model_copy(
        update={"mean_logprob": -0.5}
    )
    for n in range(3)
]
BAD = [
    trace(f"Is the fox number {n} red?", "add_prices", {"first": n, "second": 1}, n + 1).model_copy(
        update={"mean_logprob": -3.0}
    )
    for n in range(2)
]


def test_unlikely_requests_that_are_far_from_their_tool_go_first() -> None:
    mixed = [BAD[0], *GOOD, BAD[1]]
    assert likelier(mixed, TOOLS) == GOOD


def test_either_figure_counts() -> None:
    same = [GOOD[0].model_copy(update={"id": f"same-{n}"}) for n in range(3)]
    unlikely = same[0].model_copy(update={"id": "unlikely", "mean_logprob": -9.0})
    assert unlikely not in likelier([unlikely, *same], TOOLS)
    far = BAD[0].model_copy(update={"mean_logprob": same[0].mean_logprob})
    assert far not in likelier([far, *same], TOOLS)


def test_turns_of_people_talk_and_tools_of_others_stay() -> None:
    lived = BAD[0].model_copy(update={"id": "lived", "kind": TraceKind.LOGGED})
    talk, other = trace("Tell me about foxes, please."), trace("Fly to Mars.", "fly", {"to": "Mars"}, "ok")
    kept = likelier([lived, talk, other, *GOOD, *BAD], TOOLS)
    assert kept == [lived, talk, other, *GOOD]
    assert likelier([talk], TOOLS) == [talk]


def test_variants_are_made_of_what_is_left() -> None:
    assert ABLATIONS["likelier"].since == "vary"
    assert ABLATIONS["likelier"].rewrite is likelier_traces
