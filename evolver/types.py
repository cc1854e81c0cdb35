"""The values that pass between the stages of a cycle; all frozen, all JSON."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue

from agent.turn.messages import Message
from toolkit.explained import Explained
from toolkit.frozen import Frozen
from toolkit.tool import ToolError

TaskKind = Literal["corrected", "worked", "repaired", "failed", "missed", "uncertain", "unserved", "talk"]
"""Kind of a logged request, by the lesson in it. ``corrected``: a person said which calls or answer would have been
right. ``worked``: its calls worked. ``repaired``: they failed, and a later call worked. ``failed``: they failed.
``missed``: no tool was called although one fits. ``uncertain``: the model hesitates between calls. ``unserved``: no
tool fits. ``talk``: it needs no tool."""


Sign = Literal["called good", "result told", "went on", "agreed"]
"""Sign that the calls of a client's turn were right, beyond the absence of errors. ``called good``: a person judged it
good. ``result told``: its answer holds facts that only the results have. ``went on``: the conversation continued with
another request. ``agreed``: turns of another conversation made the same calls for the same request."""


class TraceKind(Explained):
    """Way in which a trace was made."""

    BACK_TRANSLATION = "back_translation", "A call was sampled and executed, and a request was written for it."
    SELF_CONSISTENCY = "self_consistency", "Most calls sampled for a logged request returned what this one returns."
    NO_TOOL = "no_tool", "A request that needs no tool was sampled, with an answer."
    LOGGED = "logged", "A logged turn worked."
    REPAIRED = "repaired", "A logged request failed, and a later call worked for it."
    CORRECTED = "corrected", "A person said which calls, or which answer, would have been right."
    PARALLEL = "parallel", "It needs several calls: two kept requests joined, or one that names several values."
    CHAINED = "chained", "Earlier versions only: the second call takes the result of the first."
    ASKING = "asking", "Earlier versions only: the request lacks a value, and the answer asks for it."


LIVED = frozenset({TraceKind.LOGGED, TraceKind.REPAIRED, TraceKind.CORRECTED})
"""Kinds of traces whose request and calls are of a logged turn."""


class ClientTurn(Frozen):
    """A client's conversation as the model was served it, with tools that the client runs.

    ``tools`` are their schemas in the client's order, ``messages`` those of the turn, the request first. ``targets``
    are the places in ``messages`` of what can be learned. ``signs`` say why the calls are taken for right; ``doubt``
    is the value of the DropReason that stands against it, "" for none.
    """

    tools: tuple[dict[str, Any], ...]
    messages: tuple[Message, ...]
    targets: tuple[int, ...]
    signs: tuple[Sign, ...] = ()
    doubt: str = ""


class Task(Frozen):
    """A request that somebody made, mined from the log, and where it comes from."""

    interaction_id: str
    session: str
    source: str
    owner: str = ""
    """The name of the API key that asked, and its tenant; "" where none was needed."""
    tenant: str = ""
    request: str
    outcome: Literal["called", "answered", "failed"]
    kind: TaskKind = "talk"
    client: bool = False
    """True if the client brought tools of its own; its requests are for these."""
    no_lesson: str = ""
    """The value of the NoLesson for which the turn itself is no candidate for a lesson; "" where it is one."""
    calls: tuple["Call", ...] = ()
    """For ``missed`` and ``uncertain``: what the model would call when it is asked several times, the likeliest first;
    a claim that nothing has checked."""


class Call(Frozen):
    """A tool call without its identity in a conversation."""

    name: str
    arguments: dict[str, JsonValue]


class Failure(Frozen):
    """A call that failed, and the error that the model read."""

    call: Call
    error: ToolError


class SampledCalls(Frozen):
    """Calls of the model for a request asked several times, the most frequent first, each with the share of
    the replies that made it. What is missing to 1 are replies without a call."""

    calls: tuple[tuple[Call, float], ...] = ()


class Mined(Frozen):
    """Result of mining. ``worked`` are turns whose calls can serve as lessons as they are, repaired ones among them;
    ``by_kind``, ``by_source`` and ``by_user`` (``tenant/owner``) count the tasks, ``over_quota`` what was left out for
    coming from one place, ``no_task`` the other new turns without a task by the value of their NoLesson."""

    interactions: int
    last_interaction_id: str
    tasks: tuple[Task, ...] = ()
    worked: tuple["Trace", ...] = ()
    by_kind: dict[str, int] = Field(default_factory=dict)
    by_source: dict[str, int] = Field(default_factory=dict)
    by_user: dict[str, int] = Field(default_factory=dict)
    over_quota: int = 0
    quarantined: dict[str, int] = Field(default_factory=dict)
    no_task: dict[str, int] = Field(default_factory=dict)


class Provenance(Frozen):
    """Sources of a trace; "" and () where it has none of the kind."""

    model: str = ""
    """The model that wrote it: ``base`` or an adapter's name."""
    interaction_id: str = ""
    """The interaction whose request it is, and the session of that one."""
    session: str = ""
    calls_interaction_id: str = ""
    """The interaction whose calls it has: the same, or the one that repaired it."""
    other_interaction_ids: tuple[str, ...] = ()
    """Further interactions without which it would not be: the turns in its history, and the one that repaired it."""
    derived_from: str = ""
    """The id of the trace of which it is a variant, or the first one of which it is composed."""
    not_executed: bool = False
    """True if its calls were judged by the log or by their schema only: a client's tool is never run."""

    @property
    def interactions(self) -> set[str]:
        """The ids of all interactions without which it would not be."""
        return {self.interaction_id, *self.other_interaction_ids} - {""}


class Trace(Frozen):
    """A candidate lesson: a request and what rightly follows. ``calls`` empty: answer without a tool."""

    id: str
    kind: TraceKind
    provenance: Provenance = Provenance()
    request: str
    calls: tuple[Call, ...] = ()
    results: tuple[JsonValue, ...] = ()
    answer: str = ""
    open_end: bool = False
    """True if ``answer`` is only the beginning of an answer, so that its end is not learned."""
    mean_logprob: float = 0.0
    """Mean log-probability per token with which the model wrote the request; nats."""
    history: tuple[Message, ...] = ()
    """Earlier messages of the conversation: whole turns, with their calls."""
    sequential: bool = False
    """Each call is made when the result of the one before it is there; otherwise all at once."""
    failures: tuple[Failure, ...] = ()
    """Failed calls before ``calls``, in the same turn."""
    client_turn: ClientTurn | None = None
    """The conversation of a client with tools of its own; ``history`` is then all that was served before the turn."""

    @property
    def spoken(self) -> tuple[str, ...]:
        """Texts of the person, the request last."""
        return (*(message.content for message in self.history if message.role == "user"), self.request)

    @property
    def lived(self) -> bool:
        """Return whether its request and its calls are a person's, who may have asked in any words."""
        return self.kind in LIVED

    @property
    def calls_key(self) -> str:
        """Equal for the traces of equal calls."""
        return json.dumps([call.model_dump() for call in self.calls], sort_keys=True)

    @property
    def single(self) -> bool:
        """Return whether it is one call with its result, of which larger lessons can be made. A call that found
        nothing in an empty workspace has none."""
        alone = not self.provenance.interaction_id and self.client_turn is None
        return len(self.calls) == len(self.results) == 1 and alone

    def sourced(self, **changes: Any) -> "Trace":
        """Return it with ``changes`` of its provenance."""
        return self.model_copy(update={"provenance": self.provenance.model_copy(update=changes)})


class Verdict(Frozen):
    """Verdict on one trace. ``reason`` is the value of the DropReason for which it was dropped, or "" when it was
    kept; earlier versions had some more."""

    trace_id: str
    kept: bool
    reason: str = ""


class TraceVerdict(Frozen):
    """A trace with what became of it."""

    trace: Trace
    verdict: Verdict

    @classmethod
    def of(cls, trace: Trace, reason: str | None = None) -> "TraceVerdict":
        """Return ``trace`` dropped for ``reason``, or kept where that is None."""
        return cls(trace=trace, verdict=Verdict(trace_id=trace.id, kept=not reason, reason=reason or ""))


class ToolExample(Frozen):
    """A call of a made tool, and what its code gave."""

    arguments: dict[str, JsonValue]
    result: JsonValue


class Invented(Frozen):
    """Counts of requests for which the model wrote tools: how many were ``tried``, gave a usable definition
    (``defined``), code that passed the static check (``written``), code that ran on examples (``ran``), and were put
    into the pool (``kept``). ``dropped`` counts tries by reason."""

    tried: int = 0
    defined: int = 0
    written: int = 0
    ran: int = 0
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)


class Made(Frozen):
    """Result of generation: a file of one Trace per line, and the yield of each kind."""

    file: Path
    traces: int
    by_kind: dict[TraceKind, int]
    dropped: dict[str, int]


class Verified(Frozen):
    """Result of verification: the kept traces, one per line of ``file``; ``verdicts_file`` has a Verdict for every
    trace. No request of the suites and benchmarks that ``against`` names is among the kept ones. ``not_executed``
    counts the kept ones whose calls did not run."""

    file: Path
    verdicts_file: Path
    kept: int
    kept_by_kind: dict[TraceKind, int]
    dropped: dict[str, int]
    against: tuple[str, ...] = ()
    not_executed: int = 0


class Selected(Frozen):
    """Result of selection: the traces worth learning, one Trace per line of ``file``, counted by kind. ``model``, which
    serves, was ``asked`` about so many kept traces with calls; ``known`` of them it does well already."""

    file: Path
    model: str
    asked: int
    known: int
    by_kind: dict[TraceKind, int]


class Varied(Frozen):
    """Result of augmentation: variants of kept traces, one Trace per line of ``file``."""

    file: Path
    traces: int
    dropped: dict[str, int]


class Dataset(Frozen):
    """A frozen dataset folder with train.jsonl and valid.jsonl; counts are rows. ``composed`` counts the traces that
    were composed of others, by kind; ``dropped`` those that were rejected, by reason."""

    folder: Path
    sha256: str
    train: int
    valid: int
    calls: int
    no_calls: int
    replayed: int
    composed: dict[TraceKind, int] = Field(default_factory=dict)
    dropped: dict[str, int] = Field(default_factory=dict)


class Adapter(Frozen):
    """A trained adapter in its published folder; ``sha256`` is that of its manifest."""

    name: str
    folder: Path
    sha256: str


CycleStatus = Literal["running", "promoted", "rejected", "waiting", "failed", "nothing_to_do"]
"""State of a cycle: running, or the way it ended. ``waiting``: the gate passed its adapter, and a person decides."""
