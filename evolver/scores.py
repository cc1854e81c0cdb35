"""Scores of adapters, and the gate's decision on them; all frozen, all JSON."""

from pydantic import AliasChoices, Field

from toolkit.frozen import Frozen


class ItemScore(Frozen):
    """Score of one request of a suite."""

    id: str
    needs_tool: bool
    exact: bool
    right_tool: bool
    called: bool
    invalid_call: bool = Field(validation_alias=AliasChoices("invalid_call", "malformed"))
    failed: bool = False
    logprob: float | None = None
    """The soft score (evolver.evaluation.soft_score): the log-probability of the expected answer, nats; None where it
    was not asked for."""
    reason: str = ""
    """Reason for which it is wrong, in the words of a benchmark's checker."""
    seen: str = ""
    """Calls or answer of the model, for people to read."""


class Rate(Frozen):
    """``hits`` of ``n``, with the 95 % Wilson interval."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else 0.0


class Mean(Frozen):
    """The mean of ``n`` values, with the 95 % interval of Student's t."""

    value: float
    n: int
    low: float
    high: float


class EvalReport(Frozen):
    """A model's scores on a suite.

    ``call_accuracy`` and ``tool_selection_accuracy`` are over the requests that need a tool, ``irrelevance_accuracy``
    over those that need none, ``invalid_call_rate`` over all. Files of version 0.1.0 name them differently.
    """

    model: str
    suite: str
    suite_sha256: str
    call_accuracy: Rate = Field(validation_alias=AliasChoices("call_accuracy", "exact"))
    tool_selection_accuracy: Rate = Field(validation_alias=AliasChoices("tool_selection_accuracy", "right_tool"))
    irrelevance_accuracy: Rate = Field(validation_alias=AliasChoices("irrelevance_accuracy", "no_call"))
    invalid_call_rate: Rate = Field(validation_alias=AliasChoices("invalid_call_rate", "malformed"))
    failed: int
    soft_score: Mean | None = None
    """Mean ``logprob`` of the items that have one, in nats; None with fewer than two."""
    items: tuple[ItemScore, ...]


class ChatReport(Frozen):
    """Distance of a model from the base model on requests without tools: a lower bound of KL(model ‖ base) in nats per
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
    """Decision of the gate, with every check and its figures."""

    promote: bool
    reasons: tuple[str, ...]
