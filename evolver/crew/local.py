"""A crew of threads, on this machine."""

from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

from evolver.crew.crew import Order
from evolver.crew.workshop import Workshop
from toolkit.made import MadeTool

R = TypeVar("R")


@dataclass(frozen=True)
class LocalCrew:
    """Carries out at most ``at_once`` orders at a time in the workshop of this process. See Crew."""

    here: Workshop
    at_once: int

    def each(self, orders: Iterable[Order[R]]) -> Generator[tuple[int, R]]:
        """See Crew."""
        waiting = enumerate(orders)
        running: dict[Future[R], int] = {}
        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                while True:
                    while len(running) < self.at_once and (taken := next(waiting, None)):
                        running[pool.submit(taken[1].do, self.here)] = taken[0]
                    if not running:
                        return
                    ended = wait(running, return_when=FIRST_COMPLETED).done
                    for future in [future for future in running if future in ended]:
                        yield running.pop(future), future.result()
            finally:
                for future in running:
                    future.cancel()

    def limited(self, at_once: int) -> "LocalCrew":
        """See Crew."""
        return replace(self, at_once=at_once)

    def with_tools(self, made: Iterable[MadeTool], kind: str) -> "LocalCrew":
        """See Crew."""
        return replace(self, here=self.here.with_tools(made, kind))
