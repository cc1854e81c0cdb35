"""Words for scores, for commands and pages: their names, and values with 95 % intervals."""

from evolver.scores import Mean, Rate
from toolkit.tables import bar, on_terminal

SCORES = {
    "call_accuracy": "call accuracy",
    "tool_selection_accuracy": "tool-selection accuracy",
    "irrelevance_accuracy": "irrelevance accuracy",
    "invalid_call_rate": "invalid-call rate",
}
"""The rates of a report, as their fields and in words."""
SOFT_SCORE = "soft score"
KL_TO_BASE = "KL to base"
NAMES = {**SCORES, "soft_score": SOFT_SCORE}
"""The scores of a report on calls, as their fields and in words."""
MEANINGS = {
    "call_accuracy": "requests that need a call whose calls return what the expected ones return",
    "tool_selection_accuracy": "requests that need a call and get one of the expected tool",
    "irrelevance_accuracy": "requests that need no call and get none",
    "invalid_call_rate": "requests that get a call with invalid arguments or of an unknown tool",
    "soft_score": "mean log-probability of the expected answers, nats; nearer to 0 is better",
}


def mean_text(mean: Mean) -> str:
    return f"{mean.value:.2f} nats ({mean.low:.2f} to {mean.high:.2f})"


def rate_text(rate: Rate) -> str:
    return f"{rate.value:.1%} ({rate.hits}/{rate.n}, {100 * rate.low:.0f}–{100 * rate.high:.0f})"


def barred(low: float, high: float, text: str) -> str:
    """Return ``text``, on a terminal behind a bar from ``low`` to ``high``."""
    return f"{bar(low, high)} {text}" if on_terminal() else text
