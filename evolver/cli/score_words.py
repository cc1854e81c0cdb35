"""Words for scores: their names, and values with 95 % intervals."""

from evolver.types import Mean, Rate
from toolkit.tables import bar, on_terminal

SCORES = {
    "call_accuracy": "call accuracy",
    "tool_selection_accuracy": "tool-selection accuracy",
    "irrelevance_accuracy": "irrelevance accuracy",
    "invalid_call_rate": "invalid-call rate",
}
"""The rates of a report, as their fields and in words."""
SOFT_SCORE = "soft score"


def mean_text(mean: Mean) -> str:
    return f"{mean.value:.2f} nats ({mean.low:.2f} to {mean.high:.2f})"


def rate_text(rate: Rate) -> str:
    return f"{rate.value:.1%} ({rate.hits}/{rate.n}, {100 * rate.low:.0f}–{100 * rate.high:.0f})"


def barred(low: float, high: float, text: str) -> str:
    """Return ``text``, on a terminal behind a bar from ``low`` to ``high``."""
    return f"{bar(low, high)} {text}" if on_terminal() else text
