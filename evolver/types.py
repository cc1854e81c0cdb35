"""The values that pass between the stages of a cycle; all frozen, all JSON."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

Maker = Literal["answer_first", "small_talk", "log"]
"""Who made a trace: from a sampled call back to its request; a request that needs no tool; a logged turn."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(Frozen):
    """A request that somebody made, mined from the log."""

    interaction_id: str
    session: str
    source: str
    request: str
    outcome: Literal["called", "answered", "failed"]


class Call(Frozen):
    """A tool call without its identity in a conversation."""

    name: str
    arguments: dict[str, JsonValue]


class Mined(Frozen):
    """What ``mine`` found. ``worked`` are turns whose calls can serve as lessons as they are."""

    interactions: int
    last_interaction_id: str
    tasks: tuple[Task, ...] = ()
    worked: tuple["Trace", ...] = ()


class Trace(Frozen):
    """A candidate lesson: a request and what rightly follows. ``calls`` empty: answer without a tool."""

    id: str
    maker: Maker
    request: str
    calls: tuple[Call, ...] = ()
    results: tuple[JsonValue, ...] = ()
    answer: str = ""
    likelihood: float = 0.0
    """Mean log-probability per token with which the model wrote the request; nats."""
    origin: str = ""
    """The interaction that it comes from, where there is one."""


class Made(Frozen):
    """What ``make`` produced, in a file of one Trace per line, and how much each maker yielded."""

    file: Path
    traces: int
    by_maker: dict[str, int]
    dropped: dict[str, int]


class Verdict(Frozen):
    """``verify`` on one trace. ``reason`` says why it was dropped ("" when kept)."""

    trace_id: str
    kept: bool
    reason: str = ""


class Verified(Frozen):
    """What ``verify`` kept, one Trace per line of ``file``; ``verdicts_file`` has a Verdict for every trace."""

    file: Path
    verdicts_file: Path
    kept: int
    kept_by_maker: dict[str, int]
    dropped: dict[str, int]


class Dataset(Frozen):
    """A frozen dataset folder with train.jsonl and valid.jsonl; counts are rows."""

    folder: Path
    sha256: str
    train: int
    valid: int
    calls: int
    no_calls: int
    replayed: int


class Adapter(Frozen):
    """A trained adapter in its published folder; ``sha256`` is that of its manifest."""

    name: str
    folder: Path
    sha256: str


class ItemScore(Frozen):
    """How one request of a suite went."""

    id: str
    needs_tool: bool
    exact: bool
    right_tool: bool
    called: bool
    malformed: bool
    failed: bool = False
    seen: str = ""
    """What the model did, for a person to read."""


class Rate(Frozen):
    """``hits`` of ``n``, with the 95 % Wilson interval."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else 0.0


class EvalReport(Frozen):
    """A model's scores on a suite. ``exact`` and ``right_tool`` over the requests that need a tool, ``no_call`` over
    those that do not, ``malformed`` over all."""

    model: str
    suite: str
    suite_sha256: str
    exact: Rate
    right_tool: Rate
    no_call: Rate
    malformed: Rate
    failed: int
    items: tuple[ItemScore, ...]


class GateDecision(Frozen):
    """Whether the candidate may serve, with every check and its figures."""

    promote: bool
    reasons: tuple[str, ...]


CycleStatus = Literal["running", "promoted", "rejected", "failed", "nothing_to_do"]
