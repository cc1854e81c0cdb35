"""Traces to verify, and the verdicts on them."""

from pathlib import Path
from typing import Any

from evolver.config import VerifyConfig
from evolver.model.client import Generator
from evolver.store.jsonl import read_lines
from evolver.types import Trace, Verdict, Verified
from evolver.verification.verify import verify
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.stages import context

CONFIG = VerifyConfig(round_trips_per_call=2, kept_per_call=1, per_tool=10)


def adding(request: str, first: int = 21, second: int = 34, **rest: Any) -> Trace:
    return trace(request, "add_prices", {"first": first, "second": second}, rest.pop("result", first + second), **rest)


GOOD = adding("Please add the prices 21 and 34.")


PARCEL = trace("Find the heaviest parcel of 4, 9 and 7.", "heaviest_parcel", {"weights": [4, 9, 7]}, 9)


TALK = trace("Tell me about foxes, please.")


WORDINGS = [
    adding(text, identity=str(n), mean_logprob=-n - 1.0)
    for n, text in enumerate(
        (
            "Please add the prices 21 and 34.",
            "Prices 21 and 34, added?",
            "The 21 and 34 add up to what price?",
            "Add 21 to the price 34.",
        )
    )
]
"""Of one call, the likeliest first."""


def judged(
    folder: Path, *traces: Trace, config: VerifyConfig = CONFIG, generator: Generator | None = None, **rest: Any
) -> tuple[Verified, list[Trace], dict[str, str]]:
    """What came of ``traces``, what was kept, and the reason for each."""
    executor = rest.pop("executor", None) or shop_tools.executor()
    config = config if generator is not None else config.model_copy(update={"round_trip": False})
    found = verify(context(folder, executor, generator, **rest), config, traces)
    assert found.against == ("tiny",)
    verdicts = read_lines(found.verdicts_file, Verdict)
    assert [verdict.trace_id for verdict in verdicts] == [t.id for t in traces]
    kept = read_lines(found.file, Trace)
    assert {t.id for t in kept} == {v.trace_id for v in verdicts if v.kept}
    assert all(v.kept == (not v.reason) for v in verdicts)
    return found, kept, {verdict.trace_id: verdict.reason for verdict in verdicts}


def reason(folder: Path, candidate: Trace, **rest: Any) -> str:
    return judged(folder, candidate, **rest)[2][candidate.id]
