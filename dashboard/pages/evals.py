"""``/evals``: how good is it?"""

from starlette.responses import RedirectResponse, Response

from agent.http.http_error import HttpError
from dashboard import databases
from dashboard.desk import Desk, Visit, see
from dashboard.figures import lineage, scores
from evolver.cli.score_words import KL_TO_BASE, MEANINGS, NAMES

_SUITES = ("heldout", "develop", "heldout:renamed", "heldout:shuffled", "replay", "chat", "served")
_LONGEST_NAME = 100


def page(desk: Desk, visit: Visit) -> Response:
    """Return models × suites, the requests that one model fails, and the run under way."""
    model, suite = visit.asked("model"), visit.asked("suite")
    with databases.ledger(desk.data) as ledger:
        names = ["base", *sorted(row.name for row in ledger.adapters())]
        with ledger.reading() as db:
            rows = scores.measured(db)
    suites = sorted(lineage.scored_suites(desk.data, model)) if model in names else []
    chosen = suite if suite in suites else next(iter(suites), "")
    failing = scores.failing(desk.data, chosen, model) if chosen else []
    return desk.page(
        visit,
        "evals.html",
        rows=rows,
        score_names=NAMES,
        meanings=MEANINGS,
        kl_name=KL_TO_BASE,
        names=names,
        model=model,
        suites=suites,
        suite=chosen,
        failing=failing,
        requests=lineage.request_texts(chosen.partition("-")[0]),
        reasons=scores.reasons(failing),
        reason_of=scores.reason_of,
        offered=_SUITES,
        run=desk.measurements.last,
    )


def run(desk: Desk, visit: Visit) -> RedirectResponse:
    """Begin a measurement, as ``evolver eval`` does, unless one runs. The page shows how far it is."""
    suite, model = visit.form.get("suite", ""), visit.form.get("model", "")
    if not suite or not model or max(len(suite), len(model)) > _LONGEST_NAME:
        raise HttpError(400, "name a suite and a model")
    desk.measurements.begin(suite, model)
    return see(visit, "evals")
