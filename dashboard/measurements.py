"""The measurement that was asked for on a page: one at a time, in a thread of its own."""

import threading
from dataclasses import dataclass

from agent.errors import ModelError
from dashboard import databases
from evolver.config import Config
from evolver.cycle.measure import measure
from evolver.errors import StageError
from toolkit.errors import SandboxUnavailable, UserError


@dataclass
class Measurement:
    """``share`` is what is done of it; ``problem`` says why it ended early."""

    suite: str
    model: str
    share: float = 0.0
    done: bool = False
    problem: str = ""


class Measurements:
    """Begins measurements of one data folder; ``last`` is the newest one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self.last: Measurement | None = None

    def begin(self, suite: str, model: str) -> None:
        """Score ``model`` on ``suite`` from now on. Raises UserError while another measurement runs."""
        with self._lock:
            if self.last is not None and not self.last.done:
                raise UserError(f"{self.last.model} is being measured on {self.last.suite}; wait for its end")
            self.last = Measurement(suite, model)
            threading.Thread(target=self._run, args=(self.last,), name="measurement", daemon=True).start()

    def _run(self, begun: Measurement) -> None:
        def show(_: str, share: float) -> None:
            begun.share = share

        try:
            with databases.writable_ledger(self._config.data_folder) as ledger:
                measure(self._config, ledger, begun.suite, begun.model, on_progress=show)
        except (UserError, StageError, ModelError, SandboxUnavailable, OSError) as error:
            begun.problem = str(error)
        finally:
            begun.done = True
