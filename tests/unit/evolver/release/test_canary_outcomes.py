"""Sessions on trial: which adapter each gets, and when the candidate is known to be worse."""

import random

from agent.adapters.active import Canary
from agent.turn.messages import Interaction
from evolver.config import ReleaseConfig
from evolver.release import canary
from tests.fakes.evolution import by_session, interaction, turn
from tests.fakes.trial import CONFIG, NAME, ON_TRIAL, SERVES


def lived(canary_: Canary, sessions: int, trouble: dict[str, float], seed: int = 0) -> list[Interaction]:
    """One turn in each of so many sessions, by the adapter that it belongs to; ``trouble``: how often it goes wrong."""
    chance = random.Random(seed)
    log = []
    for number in range(sessions):
        adapter = NAME if canary_.takes(f"s{number}", "") else SERVES
        stop = "step_limit" if chance.random() < trouble[adapter] else "answered"
        log.append(interaction(turn("q", adapter=adapter, stop_reason=stop), number + 1, session=f"s{number}"))  # type: ignore[arg-type]
    return log


def judged(log: list[Interaction], config: ReleaseConfig = CONFIG, now: float = 80_000.0) -> canary.Trial:
    return canary.compare_sessions(config, ON_TRIAL, SERVES, by_session(log), began=0.0, now=now)


def test_a_session_always_gets_the_same_and_the_share_is_kept() -> None:
    tenth = ON_TRIAL.model_copy(update={"share": 0.1})
    taken = [name for name in map(str, range(4000)) if tenth.takes(name, "")]
    assert 320 < len(taken) < 480
    assert all(tenth.takes(name, "") for name in taken)
    assert all(ON_TRIAL.takes(name, "") for name in taken)
    assert {name for name in taken if not tenth.takes(name, "ann")}
    assert {name for name in taken if not tenth.model_copy(update={"sha256": "d" * 64}).takes(name, "")}


def test_one_that_has_more_trouble_is_found_soon() -> None:
    found = judged(lived(ON_TRIAL, 400, {NAME: 0.6, SERVES: 0.1}))
    assert found.verdict == "worse"
    assert found.only_candidate > found.only_current
    assert found.pairs < 50


def test_the_errors_are_what_they_are_said_to_be() -> None:
    """Looked at after every pair: of 30 trials of equals few are lost, of 30 with twice the odds few are won.

    The exact errors of the test are in tests/unit/evolver/test_statistics.py.
    """
    lost = sum(judged(lived(ON_TRIAL, 500, {NAME: 0.2, SERVES: 0.2}, n)).verdict == "worse" for n in range(30))
    won = sum(judged(lived(ON_TRIAL, 500, {NAME: 1 / 3, SERVES: 0.2}, n)).verdict == "no worse" for n in range(30))
    assert lost < 4
    assert won < 4


def test_without_trouble_it_takes_as_many_pairs_as_are_asked_for() -> None:
    fine = {NAME: 0.0, SERVES: 0.0}
    assert judged(lived(ON_TRIAL, 300, fine)).verdict == "undecided"
    found = judged(lived(ON_TRIAL, 500, fine))
    assert (found.verdict, found.pairs) == ("no worse", 200)


def test_or_as_many_days() -> None:
    log = lived(ON_TRIAL, 30, {NAME: 0.0, SERVES: 0.0})
    assert judged(log, now=6.9 * 86400).verdict == "undecided"
    assert judged(log, now=7.1 * 86400).verdict == "no worse"


def test_a_session_counts_when_its_outcome_stands_and_never_changes_it() -> None:
    log = lived(ON_TRIAL, 40, {NAME: 0.0, SERVES: 0.0})
    assert judged(log, now=1000.0).pairs == 0
    before = judged(log)
    late = turn("q", adapter=NAME, stop_reason="step_limit")
    session = next(i.session for i in log if i.trajectory.adapter == NAME)
    after = [*log, interaction(late, 2000, session=session)]
    assert judged(after) == before
    in_time = [*log, interaction(late, 500, session=session)]
    assert judged(in_time).only_candidate == 1


def test_who_asks_for_an_adapter_by_name_is_not_counted() -> None:
    log = lived(ON_TRIAL, 40, {NAME: 0.0, SERVES: 0.0})
    by_name = [
        made.model_copy(update={"trajectory": made.trajectory.model_copy(update={"adapter": "base"})}) for made in log
    ]
    assert judged(by_name).pairs == 0
    assert judged([made.model_copy(update={"session": ""}) for made in log]).pairs == 0
