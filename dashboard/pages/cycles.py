"""``/cycles``: what did it learn from?"""

from starlette.responses import JSONResponse, Response

from agent.http.http_error import HttpError
from dashboard import charts, databases
from dashboard.desk import PAGE_ROWS, Desk, Visit, paging
from dashboard.figures import cycle as figures
from dashboard.figures import traces
from dashboard.words import plain
from evolver.cycle.report import CycleReport
from evolver.store import lease
from evolver.store.cycle_folder import cycle_folder
from evolver.store.cycle_state import state_of
from evolver.types import TraceVerdict


def page(desk: Desk, visit: Visit) -> Response:
    """Return the list of all cycles."""
    with databases.ledger(desk.data) as ledger:
        holder = lease.holder(ledger, desk.config.evolver.daemon.lease_seconds)
        with ledger.reading() as db:
            pages = paging(visit, figures.count(db))
            rows = figures.listed(db, limit=PAGE_ROWS, offset=(pages.number - 1) * PAGE_ROWS)
    states = {row.number: state_of(row, holder) for row in rows}
    return desk.page(visit, "cycles.html", rows=rows, states=states, pages=pages)


def one(desk: Desk, visit: Visit) -> Response:
    """Return one cycle: its stages, its yield, its training, its scores, its gate."""
    number = _report(desk, visit).cycle.number
    found = verdicts(desk, number)
    with databases.ledger(desk.data) as ledger:
        return desk.page(visit, "cycle.html", **figures.shown(desk.config, ledger, number, found))


def flow(desk: Desk, visit: Visit) -> Response:
    """Return the flow from the kinds of traces to kept and dropped."""
    found = traces.flow(verdicts(desk, _report(desk, visit).cycle.number))
    return JSONResponse(charts.flow([(plain(kind), plain(end), count) for kind, end, count in found], traces.KEPT))


def loss(desk: Desk, visit: Visit) -> Response:
    """Return the losses of the training, step by step."""
    found = figures.losses(cycle_folder(desk.data, _report(desk, visit).cycle.number))
    values = {"training": found.training, "validation": found.validation}
    return JSONResponse(
        charts.lines(found.steps, values if found.steps else {}, "loss, nats per token", "training step")
    )


def listed(desk: Desk, visit: Visit) -> Response:
    """Return the candidates of a cycle that a person asks for."""
    number = _report(desk, visit).cycle.number
    found = verdicts(desk, number)
    choice = traces.Choice(visit.asked("kind"), visit.asked("tool"), visit.asked("verdict"), visit.asked("text"))
    taken = [(place, one) for place, one in enumerate(found) if choice.takes(one)]
    pages = paging(visit, len(taken))
    start = (pages.number - 1) * PAGE_ROWS
    return desk.page(
        visit,
        "traces.html",
        number=number,
        choice=choice,
        choices=traces.choices(found),
        rows=taken[start : start + PAGE_ROWS],
        pages=pages,
        traces=traces,
    )


def trace(desk: Desk, visit: Visit) -> Response:
    """Return one candidate whole."""
    number = _report(desk, visit).cycle.number
    found = verdicts(desk, number)
    place = visit.number("place")
    if not 0 <= place < len(found):
        raise HttpError(404, f"cycle {number} has judged {len(found)} traces, and none at the place {place}")
    one = found[place]
    return desk.page(
        visit,
        "trace.html",
        number=number,
        one=one,
        variants=traces.variants(found, one.trace.id),
        source=traces.place_of(found, traces.source_of(one.trace)),
        traces=traces,
    )


def verdicts(desk: Desk, number: int) -> list[TraceVerdict]:
    """Return the candidates of a cycle, read at most twice a minute."""
    return desk.kept(f"judged {number}", lambda: traces.verdicts(cycle_folder(desk.data, number)))


def _report(desk: Desk, visit: Visit) -> CycleReport:
    number = visit.number("number")
    with databases.ledger(desk.data) as ledger:
        found = figures.report(desk.config, ledger, number)
    if found is None:
        raise HttpError(404, f"there is no cycle {number}")
    return found
