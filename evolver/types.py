"""The values that pass between the stages of a cycle; all frozen, all JSON."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from agent.messages import Message
from toolkit.tool import ToolError

Maker = Literal["answer_first", "question_first", "small_talk", "log", "repaired", "composed", "chained", "asking"]
"""Who made a trace: from a sampled call back to its request; from a logged request to the call that most samples agree
on; a request that needs no tool; a logged turn; a logged request that failed, with the call that worked later; two kept
requests in one; two, of which the second asks about the first one's result; a request without a value that its tool
needs, which is asked for."""

TaskKind = Literal["worked", "repaired", "failed", "missed", "uncertain", "unserved", "talk"]
"""What a logged request can teach: its calls worked; they failed and were repaired later; they failed; no tool was
called although one fits; the model hesitates between calls; no tool fits; it needs none."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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


class Probed(Frozen):
    """What the model did with a request asked several times: its calls, the most frequent first, each with the share of
    the replies that made it. What is missing to 1 are replies without a call."""

    calls: tuple[tuple[Call, float], ...] = ()


class Mined(Frozen):
    """What ``mine`` found. ``worked`` are turns whose calls can serve as lessons as they are, repaired ones among them;
    ``by_kind``, ``by_source`` and ``by_user`` (``tenant/owner``) count the tasks, ``over_quota`` what was left out for
    coming from one place."""

    interactions: int
    last_interaction_id: str
    tasks: tuple[Task, ...] = ()
    worked: tuple["Trace", ...] = ()
    by_kind: dict[str, int] = {}
    by_source: dict[str, int] = {}
    by_user: dict[str, int] = {}
    over_quota: int = 0


class Trace(Frozen):
    """A candidate lesson: a request and what rightly follows. ``calls`` empty: answer without a tool."""

    id: str
    maker: Maker
    request: str
    calls: tuple[Call, ...] = ()
    results: tuple[JsonValue, ...] = ()
    answer: str = ""
    open_end: bool = False
    """Whether ``answer`` is the beginning of one only, and teaches nothing of where it ends."""
    likelihood: float = 0.0
    """Mean log-probability per token with which the model wrote the request; nats."""
    made_by: str = ""
    """The model that wrote it: ``base`` or an adapter's name; "" where none did."""
    origin: str = ""
    """The interaction that it comes from, where there is one, and that one's session."""
    session: str = ""
    source: str = ""
    """The id of the trace that it is a variant of, where it is one."""
    also_from: tuple[str, ...] = ()
    """Further interactions without which it would not be: the turns in ``history``, and the one that repaired it."""
    calls_from: str = ""
    """The interaction whose calls these are, where they are those of a logged turn: ``origin``, or what repaired it.
    Before there was this field, ``also_from`` held nothing but that."""
    history: tuple[Message, ...] = ()
    """What was said before the request, where it is one of a conversation: whole turns, with their calls."""
    sequential: bool = False
    """Each call is made when the result of the one before it is there; otherwise all at once."""
    failures: tuple[Failure, ...] = ()
    """What was called in vain before ``calls``, in the same turn."""
    missing: str = ""
    """The parameter that the request leaves out: ``answer`` asks for it, ``calls`` has the call as far as it is known,
    and nothing is called."""

    @property
    def spoken(self) -> tuple[str, ...]:
        """What the person said, the request last."""
        return (*(message.content for message in self.history if message.role == "user"), self.request)

    @property
    def lived(self) -> bool:
        """Whether its calls are those of a logged turn, which may have been asked for in any words."""
        return self.maker in ("log", "repaired")

    @property
    def calls_key(self) -> str:
        """Equal for the traces of equal calls."""
        return json.dumps([call.model_dump() for call in self.calls], sort_keys=True)

    @property
    def single(self) -> bool:
        """Whether it is one call with its result, of which larger lessons can be made. A call that found nothing in an
        empty workspace has none."""
        return len(self.calls) == len(self.results) == 1 and not self.origin


class Verdict(Frozen):
    """What became of one trace. ``reason`` says why it was dropped ("" when kept)."""

    trace_id: str
    kept: bool
    reason: str = ""


class Judged(Frozen):
    """A trace with what became of it."""

    trace: Trace
    verdict: Verdict

    @classmethod
    def of(cls, trace: Trace, reason: str = "") -> "Judged":
        """``trace``, dropped for ``reason``; or "", and kept."""
        return cls(trace=trace, verdict=Verdict(trace_id=trace.id, kept=not reason, reason=reason))


class ToolExample(Frozen):
    """A call of a made tool, and what its code gave."""

    arguments: dict[str, JsonValue]
    result: JsonValue


class Invented(Frozen):
    """What became of requests for which the model wrote tools: how many were ``tried``, gave a usable definition
    (``defined``), code that passed the static check (``written``), code that ran on examples (``ran``), and were put
    into the pool (``kept``). ``dropped`` counts tries by reason."""

    tried: int = 0
    defined: int = 0
    written: int = 0
    ran: int = 0
    kept: int = 0
    dropped: dict[str, int] = {}


class Defined(Frozen):
    """How many definitions the model wrote from descriptions of tools that exist, and how many were right in names,
    types and what is required."""

    tried: int = 0
    right: int = 0
    dropped: dict[str, int] = {}


class ToolsMade(Frozen):
    """What the makers of definitions and of tools did."""

    defined: Defined
    invented: Invented


class Made(Frozen):
    """What ``make`` produced, in a file of one Trace per line, and how much each maker yielded."""

    file: Path
    traces: int
    by_maker: dict[str, int]
    dropped: dict[str, int]


class Verified(Frozen):
    """What ``verify`` kept, one Trace per line of ``file``; ``verdicts_file`` has a Verdict for every trace. No request
    of the suites and benchmarks that ``against`` names is among the kept ones."""

    file: Path
    verdicts_file: Path
    kept: int
    kept_by_maker: dict[str, int]
    dropped: dict[str, int]
    against: tuple[str, ...] = ()


class Varied(Frozen):
    """What ``vary`` made of kept traces, one Trace per line of ``file``."""

    file: Path
    traces: int
    dropped: dict[str, int]


class Composed(Frozen):
    """Traces made of kept ones without asking the model, and how often others were not, by reason; ``unfit`` are those
    of them that had a text to judge."""

    traces: tuple[Trace, ...] = ()
    dropped: dict[str, int] = {}
    unfit: tuple[Judged, ...] = ()


class Dataset(Frozen):
    """A frozen dataset folder with train.jsonl and valid.jsonl; counts are rows. ``composed`` counts the traces that
    were composed of others, by maker; ``dropped`` those that were not, by reason."""

    folder: Path
    sha256: str
    train: int
    valid: int
    calls: int
    no_calls: int
    replayed: int
    composed: dict[str, int] = {}
    dropped: dict[str, int] = {}


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
    reason: str = ""
    """Why a benchmark's checker says that it is wrong, in the checker's words."""
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


class OwnMaker(Frozen):
    """The maker of one cycle. ``adapter`` None: there were too few ``lessons``, or there was a ``problem``.

    ``base`` and ``own``: of the calls that each tried to make, on the same tools, those that were kept in the end.
    """

    lessons: int = 0
    problem: str = ""
    adapter: Adapter | None = None
    base: Rate | None = None
    own: Rate | None = None

    @property
    def makes(self) -> bool:
        """Whether it makes, and not the base model."""
        return self.base is not None and self.own is not None and self.own.hits > self.base.hits


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


class ChatReport(Frozen):
    """How far a model is from the base model on requests without tools: a lower bound of KL(model ‖ base) in nats per
    token with its 95 % interval over the prompts, and at how many tokens both have the same likeliest one."""

    model: str
    suite: str
    suite_sha256: str
    prompts: int
    tokens: int
    kl: float
    kl_low: float
    kl_high: float
    same_first: Rate


class GateDecision(Frozen):
    """Whether the candidate may serve, with every check and its figures."""

    promote: bool
    reasons: tuple[str, ...]


CycleStatus = Literal["running", "promoted", "rejected", "waiting", "failed", "nothing_to_do"]
"""How a cycle ended. ``waiting``: the gate passed its adapter, a person has the last word."""
