"""Opens a crew."""

from collections.abc import Iterator
from contextlib import contextmanager

from evolver.crew.crew import Crew
from evolver.crew.local import LocalCrew
from evolver.crew.setup import Setup, open_workshop
from evolver.crew.workshop import Record


@contextmanager
def open_crew(setup: Setup, *, record: Record = lambda route, body, answer: None) -> Iterator[Crew]:
    """Open the crew that does the jobs; ``record`` gets its requests to the model. Raises as open_executor does."""
    with open_workshop(setup, record) as here:
        yield LocalCrew(here, setup.at_once)
