"""``/conversations``: what did people ask?"""

from typing import Literal, cast

from starlette.responses import RedirectResponse, Response

from agent.http.http_error import HttpError
from agent.log.corrections import checked
from agent.log.interaction_log import InteractionLog
from dashboard import databases
from dashboard.desk import PAGE_ROWS, Desk, Visit, paging, see
from dashboard.figures import conversations as figures
from dashboard.figures import traces
from evolver.maintenance.forget import forget as delete
from evolver.store.cycle_folder import cycle_folders
from evolver.store.lease import held

_LONGEST = 10_000


def page(desk: Desk, visit: Visit) -> Response:
    """Return the turns that a person asks for, the newest first."""
    names = ("adapter", "source", "owner", "trouble", "text", "before")
    choice = figures.Choice(**{name: visit.asked(name) for name in names})
    with databases.log_rows(desk.data) as db:
        rows = figures.listed(db, choice, PAGE_ROWS + 1)
        choices = figures.choices(db)
    older = visit.link(before=rows[PAGE_ROWS - 1].id) if len(rows) > PAGE_ROWS else ""
    return desk.page(
        visit,
        "conversations.html",
        choice=choice,
        choices=choices,
        troubles=figures.TROUBLES,
        rows=rows[:PAGE_ROWS],
        older=older,
    )


def thread(desk: Desk, visit: Visit) -> Response:
    """Return the session of an interaction, each turn with its calls, and what was learned from this one."""
    identity = visit.part("id")
    with databases.log(desk.data) as log:
        turns = figures.thread(log, identity)
    if not turns:
        raise HttpError(404, f"there is no interaction {identity[:60]!r}; it may have been forgotten")
    place = next((place for place, turn in enumerate(turns) if turn.id >= identity), len(turns) - 1)
    pages = paging(visit, len(turns), default=1 + place // PAGE_ROWS)
    learned = traces.learned_from(cycle_folders(desk.data), identity)
    return desk.page(
        visit,
        "thread.html",
        identity=identity,
        turns=turns[pages.first - 1 : pages.last],
        pages=pages,
        learned=learned,
        traces=traces,
        whose=_whose(visit),
    )


def feedback(desk: Desk, visit: Visit) -> RedirectResponse:
    """Store a person's word on an interaction: good, bad, or bad with what would have been right."""
    verdict, expected = visit.form.get("verdict", ""), checked(visit.form.get("expected", ""))
    if verdict not in ("good", "bad"):
        raise HttpError(400, "the verdict must be good or bad")
    with InteractionLog.of(desk.config) as log:
        identity = log.feedback(
            visit.part("id"),
            cast("Literal['good', 'bad']", verdict),
            visit.form.get("note", "")[:_LONGEST],
            expected=expected if verdict == "bad" else "",
            owner=_whose(visit),
        )
    return see(visit, f"conversations/{identity}#{identity}")


def forget(desk: Desk, visit: Visit) -> Response:
    """Delete an interaction and all that was made from it, as ``evolver forget`` does."""
    lease_seconds = desk.config.evolver.daemon.lease_seconds
    with databases.writable_ledger(desk.data) as ledger, held(ledger, lease_seconds, runs_cycle=False):
        found = delete(desk.data, ledger, visit.part("id"))
    return desk.page(visit, "forgotten.html", found=found)


def _whose(visit: Visit) -> str | None:
    """Return the owner on whose answers the visitor may say a word; None: on all."""
    return None if visit.caller.may("admin") else visit.caller.name
