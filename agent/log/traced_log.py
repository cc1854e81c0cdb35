"""The interaction log, with spans of what it stores where the configuration asks for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from agent.config import Config
from agent.log.interaction_log import InteractionLog
from toolkit.errors import PrerequisiteError


@contextmanager
def traced_log(config: Config) -> Iterator[InteractionLog]:
    """Yield the log of the data folder; at the end the spans that are left are sent.

    Raises PrerequisiteError where ``[agent.telemetry]`` is on and OpenTelemetry is not installed.
    """
    if not config.agent.telemetry.enabled:
        with InteractionLog.of(config) as log:
            yield log
        return
    try:
        from agent.log.telemetry import open_spans

        spans = open_spans(config.agent.telemetry)
    except ImportError:
        raise PrerequisiteError(
            "[agent.telemetry] needs OpenTelemetry; install it: pip install 'apprentice-agent[otel]', or set "
            "enabled = false"
        ) from None
    try:
        with InteractionLog.of(config, on_stored=spans.stored) as log:
            yield log
    finally:
        spans.close()
