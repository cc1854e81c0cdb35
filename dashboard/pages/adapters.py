"""``/adapters``: which one serves, and where does it come from?"""

from collections.abc import Callable

from starlette.responses import RedirectResponse, Response

from agent.adapters import active
from agent.http.http_error import HttpError
from dashboard import databases
from dashboard.desk import Desk, Visit, see
from dashboard.figures import lineage
from evolver.cli.past_tables import folder_bytes, lessons_of
from evolver.cli.score_words import NAMES
from evolver.release import by_person
from evolver.release.release import adapters_folder
from evolver.store.ledger import Ledger


def page(desk: Desk, visit: Visit) -> Response:
    """Return the lineage and the table of all adapters."""
    with databases.ledger(desk.data) as ledger:
        rows, marks = ledger.adapters(), ledger.marks()
        lessons = {row.number: lessons_of(row) for row in ledger.cycles()}
    pointers = active.read_all(desk.data)
    return desk.page(
        visit,
        "adapters.html",
        tree=lineage.tree(rows),
        rows=rows,
        marks=marks,
        serves={tenant: pointer.name for tenant, pointer in pointers.items()},
        on_trial={tenant: pointer.canary.name for tenant, pointer in pointers.items() if pointer.canary},
        lessons=lessons,
        score_names=NAMES,
        sizes={row.name: folder_bytes(adapters_folder(desk.data) / row.name) for row in rows},
    )


def compare(desk: Desk, visit: Visit) -> Response:
    """Return two models item by item on a suite that both were asked."""
    one, other = visit.asked("one"), visit.asked("other")
    with databases.ledger(desk.data) as ledger:
        names = ["base", *sorted(row.name for row in ledger.adapters())]
    if unknown := {one, other} - {*names, ""}:
        raise HttpError(404, f"there is no adapter {min(unknown)!r}; choose from {', '.join(names)}")
    common = sorted(lineage.scored_suites(desk.data, one) & lineage.scored_suites(desk.data, other))
    suite = visit.asked("suite") if visit.asked("suite") in common else next(iter(common), "")
    pairs = lineage.compared(desk.data, suite, one, other) if suite and one and other else []
    better, worse = lineage.gains(pairs)
    return desk.page(
        visit,
        "compare.html",
        names=names,
        one=one,
        other=other,
        suites=common,
        suite=suite,
        pairs=pairs,
        better=better,
        worse=worse,
        is_right=lineage.is_right,
    )


def promote(desk: Desk, visit: Visit) -> Response:
    """Let an adapter serve, whatever the gate said."""
    return _changed(
        desk, visit, lambda ledger, name, reason: by_person.promote(desk.config, ledger, name, reason=reason)
    )


def approve(desk: Desk, visit: Visit) -> Response:
    """Let an adapter serve that waits for a person."""
    return _changed(
        desk, visit, lambda ledger, name, reason: by_person.approve(desk.config, ledger, name, reason=reason)
    )


def begin_trial(desk: Desk, visit: Visit) -> Response:
    """Let an adapter answer a share of the sessions."""
    try:
        share = float(visit.form.get("percent", "")) / 100
    except ValueError as error:
        raise HttpError(400, "the share of the sessions must be a number, in percent") from error
    return _changed(
        desk,
        visit,
        lambda ledger, name, reason: by_person.begin_trial(desk.config, ledger, name, share=share, reason=reason),
    )


def reject(desk: Desk, visit: Visit) -> Response:
    """Let an adapter wait no more."""
    return _changed(desk, visit, lambda ledger, name, reason: by_person.reject(ledger, name, reason=reason))


def pin(desk: Desk, visit: Visit) -> Response:
    """Protect an adapter."""
    return _changed(desk, visit, lambda ledger, name, _: by_person.pin(ledger, name, pinned=True))


def unpin(desk: Desk, visit: Visit) -> Response:
    """Lift the protection."""
    return _changed(desk, visit, lambda ledger, name, _: by_person.pin(ledger, name, pinned=False))


def roll_back(desk: Desk, visit: Visit) -> Response:
    """Go back to an adapter."""
    return _changed(
        desk, visit, lambda ledger, name, reason: by_person.roll_back(desk.config, ledger, name, reason=reason)
    )


def _changed(desk: Desk, visit: Visit, change: Callable[[Ledger, str, str], object]) -> RedirectResponse:
    """Change something for those whose adapter it is: a tenant, or everybody."""
    name, action = visit.part("name"), visit.request.url.path.rpartition("/")[2].replace("-", " ")
    with databases.ledger(desk.data) as ledger:
        row = ledger.adapter(name)
    with databases.writable_ledger(desk.data, row.tenant if row is not None else "") as ledger:
        change(ledger, name, f"dashboard: {action} {visit.who}")
    return see(visit, "adapters")
