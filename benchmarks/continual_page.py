"""What the rounds of the benchmark of continual learning did, and the section of docs/results.md with their figures."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from evolver.scores import EvalReport, Rate
from evolver.statistics import mean, paired_t_test, rate
from toolkit.errors import UserError
from toolkit.frozen import Frozen

BEGIN, END = "<!-- bench-continual begins -->", "<!-- bench-continual ends -->"
"""Lines of docs/results.md between which the section stands."""
SEED = ", seed "
"""Stands between a run's title and its seed."""


class Scores(Frozen):
    """A model's scores on one batch; ``logprobs`` are the soft scores by the request's id, nats."""

    exact: Rate
    right_tool: Rate
    logprobs: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, report: EvalReport) -> "Scores":
        found = {item.id: item.logprob for item in report.items if item.logprob is not None}
        return cls(exact=report.call_accuracy, right_tool=report.tool_selection_accuracy, logprobs=found)


class Arrival(Frozen):
    """A batch has come: its requests are in the log, and what served then has the scores ``before``."""

    batch: int
    before: Scores


class ContinualRound(Frozen):
    """One cycle. ``batches`` has the scores of each batch so far by its number, ``arrived`` the batches that came with
    it. Round 0 is the base model, asked about the first batch. ``model`` was scored: the cycle's adapter, promoted or
    not, or what serves where the cycle made none. ``known``: kept calls that what served before made already."""

    number: int
    model: str
    where: str
    when: str
    batches: dict[int, Scores]
    abstention: Rate
    status: str = ""
    reason: str = ""
    arrived: tuple[Arrival, ...] = ()
    lessons: int = 0
    known: Rate | None = None
    bfcl: dict[str, Rate] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def whole(self) -> Rate:
        """Exact calls over all batches so far."""
        return rate(
            sum(one.exact.hits for one in self.batches.values()), sum(one.exact.n for one in self.batches.values())
        )


Runs = Mapping[str, Sequence[ContinualRound]]


def matrix(rounds: Sequence[ContinualRound]) -> dict[int, dict[int, float]]:
    """Return the share of exact calls by batch and cycle; of a batch that came with a cycle, before it as the one of
    the cycle before."""
    cells: dict[int, dict[int, float]] = {}
    for one in rounds:
        for arrival in one.arrived:
            cells.setdefault(arrival.batch, {})[max(one.number - 1, 0)] = arrival.before.exact.value
        for batch, scores in one.batches.items():
            cells.setdefault(batch, {})[one.number] = scores.exact.value
    return {batch: dict(sorted(row.items())) for batch, row in sorted(cells.items())}


def forgotten(rounds: Sequence[ContinualRound]) -> dict[int, float]:
    """Return for each batch how much of its share of exact calls is lost since the best cycle before the last, in
    points; batches that only the last cycle has are left out. Negative: it has risen."""
    found = {}
    for batch, row in matrix(rounds).items():
        earlier = [value for number, value in row.items() if number < rounds[-1].number]
        if earlier and rounds[-1].number in row and not any(a.batch == batch for a in rounds[-1].arrived):
            found[batch] = 100 * (max(earlier) - row[rounds[-1].number])
    return found


def soft_gain(before: ContinualRound, now: ContinualRound) -> tuple[float, float, int] | None:
    """Return by how much the soft scores rose (nats), the one-sided p of the paired t test, and the count, over the
    requests that both rounds were asked; None for fewer than two."""
    old, new = (
        {key: value for s in one.batches.values() for key, value in s.logprobs.items()} for one in (before, now)
    )
    differences = [new[key] - old[key] for key in old if key in new]
    found = mean(differences)
    return None if found is None else (found.value, paired_t_test(differences), found.n)


def section(runs: Runs, setting: str, picture: str = "") -> str:
    """Return the section: what was measured with ``setting`` (one sentence), and nothing else. ``picture``: its file,
    beside the page."""
    measured = {name: rounds for name, rounds in runs.items() if rounds}
    missing = [name for name, rounds in runs.items() if not rounds]
    lines = [setting]
    if measured and picture:
        lines += ["", f"![Exact calls on each batch after each cycle]({picture})"]
        lines += ["", "A ring is a batch before the cycle that brought it. The thick line is all batches so far."]
    if len(measured) > 1:
        lines += ["", "### Side by side", "", *_side_by_side(measured)]
    for name, rounds in measured.items():
        lines += ["", f"### {name}", "", *_run_lines(rounds)]
    lines += ["", f"Not run: {', '.join(missing)}."] if missing else []
    return "\n".join(lines)


def replaced(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Return ``page`` with ``text`` between ``begin`` and ``end``. Raises UserError where the page has not each once,
    in this order."""
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise UserError(f"the page needs the lines {begin} and {end}, each once and in this order; put them back")
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def seed_of(name: str) -> str:
    """Return the seed of the run called ``name``, "" where it has none; runs of one seed are asked the same."""
    return name.rpartition(SEED)[2] if SEED in name else ""


def compared(runs: Runs) -> dict[str, tuple[ContinualRound, tuple[float, float, int] | None]]:
    """Return of each of the ``runs`` the round after the last cycle that all runs of its seed have, and its soft gain
    over that of the first of them."""
    found = {}
    for name, rounds in runs.items():
        beside = [other for key, other in runs.items() if seed_of(key) == seed_of(name)]
        last = min(other[-1].number for other in beside)
        first, own = (next(one for one in some if one.number == last) for some in (beside[0], rounds))
        found[name] = own, None if own is first else soft_gain(first, own)
    return found


def _side_by_side(runs: Runs) -> Iterator[str]:
    yield "*Against the first*: soft score against the first run of the same seed, after the same cycle."
    yield ""
    yield "| run | cycle | all batches | points lost, mean | no call | against the first |"
    yield "| --- " * 6 + "|"
    rows = compared(runs)
    for name, (one, gain) in rows.items():
        lost = forgotten([each for each in runs[name] if each.number <= one.number])
        points = f"{sum(lost.values()) / len(lost):+.1f}" if lost else "–"
        yield (
            f"| {name} | {one.number or 'base'} | {_rate(one.whole)} | {points} | {_rate(one.abstention)} | "
            f"{_gain(gain)} |"
        )
    titles = dict.fromkeys(name.removesuffix(f"{SEED}{seed_of(name)}") for name in runs)
    for title in titles:
        shares = [100 * one.whole.value for name, (one, _) in rows.items() if name.rpartition(SEED)[0] == title]
        if len(shares) > 1:
            yield (
                f"| {title}, {len(shares)} seeds | | mean {sum(shares) / len(shares):.1f}, "
                f"{min(shares):.1f} to {max(shares):.1f} | | | |"
            )


def _run_lines(rounds: Sequence[ContinualRound]) -> Iterator[str]:
    places = dict.fromkeys(f"{one.where}; {one.when}" for one in rounds)
    yield f"Measured on: {', and '.join(places)}. Call accuracy in percent, with the count of requests."
    yield ""
    yield from _forgetting(rounds)
    yield ""
    yield from _summary(rounds)
    if any(one.bfcl for one in rounds):
        yield ""
        yield from _bfcl(rounds)


def _forgetting(rounds: Sequence[ContinualRound]) -> Iterator[str]:
    batches = sorted({number for one in rounds for number in one.batches})
    sizes = {number: one.batches[number].exact.n for one in rounds for number in one.batches}
    titles = " | ".join(f"batch {number} ({sizes[number]})" for number in batches)
    yield f"| cycle | gate | known | lessons | new batch: before → after | {titles} | all | no call | soft score |"
    yield "| --- " * (8 + len(batches)) + "|"
    for place, one in enumerate(rounds):
        cells = " | ".join(_percent(one.batches[n].exact) if n in one.batches else "–" for n in batches)
        did = f"{one.status or '–'} | {_rate(one.known)} | {one.lessons or '–'} | {_new(one)}"
        yield (
            f"| {one.number or 'base'} | {did} | {cells} | {_rate(one.whole)} | {_rate(one.abstention)} | "
            f"{_soft(rounds, place)} |"
        )


def _new(one: ContinualRound) -> str:
    pairs = [(a.before.exact, one.batches[a.batch].exact) for a in one.arrived if a.batch in one.batches and one.number]
    return ", ".join(f"{_percent(before)} → {_percent(after)}" for before, after in pairs) or "–"


def _soft(rounds: Sequence[ContinualRound], place: int) -> str:
    """Against two cycles before."""
    return _gain(soft_gain(rounds[place - 2], rounds[place]) if place > 1 else None)


def _gain(found: tuple[float, float, int] | None) -> str:
    return "–" if found is None else f"{found[0]:+.2f} nats, p = {found[1]:.2g}, n = {found[2]}"


def _summary(rounds: Sequence[ContinualRound]) -> Iterator[str]:
    yield "*Known*: kept calls that the serving adapter made already, so that they were only replayed."
    yield "*Soft score*: its change against two cycles before, on the requests of both, one-sided paired t test."
    lost = forgotten(rounds)
    if lost:
        told = ", ".join(f"batch {batch} {points:+.0f}" for batch, points in lost.items())
        yield f"Points lost since a batch's best cycle: {told}; mean {sum(lost.values()) / len(lost):+.1f}."
    reasons = [one for one in rounds if one.status not in ("", "promoted", "rejected")]
    for one in reasons:
        yield f"Cycle {one.number}: {one.reason}."


def _bfcl(rounds: Sequence[ContinualRound]) -> Iterator[str]:
    names = list(dict.fromkeys(name for one in rounds for name in one.bfcl))
    yield "BFCL v4, items with even numbers: call accuracy, or irrelevance accuracy."
    yield ""
    yield "| category | " + " | ".join(str(one.number or "base") for one in rounds) + " |"
    yield "| --- " * (1 + len(rounds)) + "|"
    for name in names:
        yield f"| `{name}` | " + " | ".join(_rate(one.bfcl.get(name)) for one in rounds) + " |"


def _percent(found: Rate) -> str:
    return f"{100 * found.value:.0f}"


def _rate(found: Rate | None) -> str:
    return f"{found.hits}/{found.n} ({100 * found.low:.0f}–{100 * found.high:.0f})" if found and found.n else "–"
