"""Opens a crew."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.cluster.config import ClusterConfig
from evolver.crew.crew import Crew
from evolver.crew.local import LocalCrew
from evolver.crew.setup import Setup, open_workshop
from evolver.crew.workshop import Record


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def open_crew(
    setup: Setup,
    cluster: ClusterConfig,
    *,
    record: Record = lambda route, body, answer: None,
    say: Callable[[str], None] = _say,
) -> Iterator[Crew]:
    """Open the crew that does the jobs: in this process, or on the nodes of the ``cluster`` where it has an address.

    ``record`` gets its requests to the model, ``say`` a line for each node that is lost. Raises as open_executor and
    open_ray_crew do.
    """
    with open_workshop(setup, record) as here:
        if not cluster.address:
            yield LocalCrew(here, setup.at_once)
            return
        from evolver.crew.ray_crew import open_ray_crew

        with open_ray_crew(setup, cluster, here, record, say) as crew:
            yield crew
