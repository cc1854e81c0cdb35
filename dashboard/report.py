"""The report of one cycle as a single web page, for people who cannot see the dashboard (``evolver report --html``)."""

from pathlib import Path

from dashboard.desk import templates
from dashboard.figures import cycle as figures
from dashboard.figures import traces
from evolver.config import Config
from evolver.maintenance.audit import audit
from evolver.store.cycle_folder import cycle_folder
from evolver.store.ledger import Ledger

_STATIC = Path(__file__).parent / "static"
_EXAMPLES = 20


def html(config: Config, ledger: Ledger, number: int) -> str:
    """Return the page of cycle ``number``, which must exist. It holds its styles and no script."""
    folder = cycle_folder(config.data_folder, number)
    found = traces.verdicts(folder)
    styles = [_STATIC / "vendor" / "pico.min.css", _STATIC / "dashboard.css"]
    return (
        templates()
        .get_template("report.html")
        .render(
            **figures.shown(config, ledger, number, found),
            base="",
            alone=True,
            styles="\n".join(path.read_text(encoding="utf-8") for path in styles),
            flow=traces.flow(found),
            examples=audit(folder, sample=_EXAMPLES) if found else [],
            traces=traces,
        )
    )
