"""What the benchmark of client applications measured, as it is kept on disk."""

from typing import Literal

from benchmarks.clients.tenancy import Tenancy
from toolkit.frozen import Frozen

Phase = Literal["before", "traffic", "after"]


class Outcome(Frozen):
    """One request put to an application. ``tool`` is the one that it needs ("" for none), ``effect`` whether that
    changes something. ``exact``: the expected calls and no others; ``success``: the application has what it wants."""

    phase: Phase
    application: str
    number: int
    tool: str
    effect: bool
    exact: bool
    success: bool
    called: bool
    problem: str = ""


class Start(Frozen):
    """What the data folder had at first: the model that served, and how many cycles had ended."""

    model: str
    cycles: int
    where: str
    when: str


class Learned(Frozen):
    """What the cycle kept of one application: ``logged`` turns as lessons, of which ``right`` have the calls that the
    request needs, as only this benchmark knows; and ``made`` calls. ``dropped`` counts the logged turns with calls that
    are no lesson, of which ``dropped_right`` had the right calls."""

    application: str
    logged: int
    right: int
    made: int
    dropped: int
    dropped_right: int


class Cycle(Frozen):
    """How the cycle ended, the model that was asked afterwards, and what was learned."""

    number: int
    status: str
    reason: str
    model: str
    lessons: int
    learned: tuple[Learned, ...]


class Session(Frozen):
    """The session that is to be forgotten: its interactions and its first request."""

    application: str
    name: str
    interactions: tuple[str, ...]
    request: str


class Forgetting(Frozen):
    """The deletion of one session with all that was made of it: counts, and files that still had something of it."""

    application: str
    session: str
    interactions: int
    values: int
    adapters: tuple[str, ...]
    client_tools: tuple[str, ...]
    left: tuple[str, ...]


class Results(Frozen):
    """All of a run so far; None and () for what has not been done."""

    setting: str
    start: Start | None = None
    outcomes: tuple[Outcome, ...] = ()
    plan: str = ""
    cycle: Cycle | None = None
    tenancy: Tenancy | None = None
    forgetting: Forgetting | None = None
