"""What the benchmark of client applications measured, as it is kept on disk."""

from typing import Literal

from pydantic import Field

from benchmarks.clients.tenancy import Tenancy
from evolver.cycle.plan import Plan
from evolver.types import Call
from toolkit.frozen import Frozen

Phase = Literal["before", "traffic", "after", "together"]
PHASES: tuple[Phase, ...] = ("before", "traffic", "after", "together")


class Outcome(Frozen):
    """One request put to an application. ``tool`` is the one that it needs ("" for none), ``effect`` whether that
    changes something. ``exact``: the expected calls and no others; ``success``: the application has what it wants.

    ``calls`` and ``text`` are what came, ``problem`` the error of the framework, ``feedback`` the word that was said of
    it; "" and () for none.
    """

    phase: Phase
    application: str
    number: int
    tool: str
    effect: bool
    exact: bool
    success: bool
    request: str = ""
    calls: tuple[Call, ...] = ()
    text: str = ""
    problem: str = ""
    feedback: Literal["good", "bad", ""] = ""
    seconds: float = 0.0


class Start(Frozen):
    """What the data folder had at first: the model that served, how many cycles had ended, the number of the newest
    one, and the id of the newest interaction ("" for none)."""

    model: str
    cycles: int
    newest_cycle: int = 0
    newest_interaction: str = ""
    where: str
    when: str


class Learned(Frozen):
    """What the cycle made of one application's traffic.

    Of its ``turns`` in the log mining took ``tasks``, counted by kind, and left ``quarantined`` ones. ``planned`` are
    the lessons that the plan promised. The cycle kept ``logged`` turns as lessons, of which ``right`` have the calls
    that the request needs, as only this benchmark knows; and ``made`` calls. ``dropped`` counts the logged turns with
    calls that are no lesson, of which ``dropped_right`` had the right calls, and ``reasons`` counts them by reason.
    """

    application: str
    turns: int
    tasks: dict[str, int]
    quarantined: int
    planned: int
    logged: int
    right: int
    made: int
    dropped: int
    dropped_right: int
    reasons: dict[str, int]


class Cycle(Frozen):
    """How the cycle ended, the model that was asked afterwards, and what was learned. ``seconds`` by stage are of the
    last time it was gone on with, ``minutes`` those from its begin to its end."""

    number: int
    status: str
    reason: str
    model: str
    lessons: int
    over_quota: int
    minutes: float
    seconds: dict[str, float] = Field(default_factory=dict)
    learned: tuple[Learned, ...]


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
    plan: Plan | None = None
    cycle: Cycle | None = None
    tenancy: Tenancy | None = None
    forgetting: Forgetting | None = None
