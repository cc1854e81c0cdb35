"""A measurement that a person asks for: a model's scores on a suite, for ``evolver eval`` and the dashboard."""

from collections.abc import Callable

from agent.adapters import active
from agent.serving import serving_state
from agent.serving.gateway.app import ALIAS
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.crew.opening import open_crew
from evolver.crew.setup import Setup
from evolver.evaluation.scoring import Report, score_suite
from evolver.evaluation.suite_names import check_suite
from evolver.release.release import load_registered
from evolver.store.base_model import configured_sha256
from evolver.store.known_names import no_adapter
from evolver.store.ledger import Ledger


def measure(
    config: Config,
    ledger: Ledger,
    suite: str,
    model: str,
    *,
    limit: int | None = None,
    release: bool = False,
    on_progress: Callable[[str, float], None] = lambda model, share: None,
) -> Report:
    """Score ``model`` (an adapter, ``base`` or ``agent``) on the first ``limit`` requests of ``suite``, and record it.

    ``agent`` is the active adapter of the ledger's tenant. Scores of an earlier run are reused. Raises UserError for an
    unknown suite or adapter, as ``score_suite`` and ``load_registered`` do, and ModelUnavailable.
    """
    check_suite(suite)
    if model not in (ALIAS, BASE) and ledger.adapter(model) is None:
        raise no_adapter(model, ledger)
    running = serving_state.running(config.data_folder)
    name = active.serving(config.data_folder, ledger.tenant).name if model == ALIAS else model
    if name != BASE:
        load_registered(name, config.data_folder, ledger, running, base_sha256=configured_sha256(config, ledger))
    at_once = config.evolver.evaluate.concurrency
    setup = Setup(config.toolkit, running.gateway_url, running.gateway_key, at_once)
    with open_crew(setup, config.cluster) as crew:
        report = score_suite(
            config, suite, name, crew, limit=limit, release=release, tenant=ledger.tenant,
            on_progress=lambda share: on_progress(name, share),
        )  # fmt: skip
    ledger.record_evaluation(report)
    return report
