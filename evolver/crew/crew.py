"""The jobs of a stage, and those who do them.

A job is an order: a frozen value that can be sent to another machine, and that a workshop carries out. Only the
stage's own process, the driver, stores results: an order may be carried out twice, its result arrives once.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Protocol, TypeVar

from evolver.crew.workshop import Workshop
from toolkit.made import MadeTool

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Order(Protocol[R_co]):
    """One job."""

    def do(self, workshop: Workshop) -> R_co:
        """Do the job. May run beside others, and again where a machine died over it."""
        ...


class Crew(Protocol):
    """Carries out orders, several at a time, in one workshop or in many."""

    @property
    def here(self) -> Workshop:
        """The workshop of this process."""
        ...

    def each(self, orders: Iterable[Order[R]]) -> Generator[tuple[int, R]]:
        """Yield the number of each order, from 0, and its result, as they finish.

        The next order is taken when somebody is free to begin it. Close the generator to begin no further one; it
        returns when those under way have ended. Raises what an order raises.
        """
        ...

    def limited(self, at_once: int) -> "Crew":
        """Return this crew with at most ``at_once`` orders at a time in each workshop."""
        ...

    def with_tools(self, made: Iterable[MadeTool], kind: str) -> "Crew":
        """Return this crew with the tools ``made``, whose source is of ``kind``, in every workshop."""
        ...


def results(crew: Crew, orders: Sequence[Order[R]]) -> list[R]:
    """Return the results of ``orders`` in their order. Raises what an order raises."""
    with closing(crew.each(orders)) as found:
        by_number = dict(found)
    return [by_number[number] for number in range(len(orders))]
