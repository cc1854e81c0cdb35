"""The figures of /metrics: counts and times of this gateway, in Prometheus' text format."""

import re
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from agent.serving.gateway.capture import latest_results
from agent.serving.gateway.history import is_tool_error

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_USAGE = b'"usage":'
_TOKENS = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d{1,9})')
_OTHER = "other"
_ADAPTERS = 64


class Metrics:
    """All figures of one gateway. Adapter labels beyond the first 64 become ``other``: clients choose that name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apprentice_requests", "Requests answered.", ["route", "status", "adapter"], registry=self.registry
        )
        self._seconds = Histogram(
            "apprentice_request_seconds", "Until the whole answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._first = Histogram(
            "apprentice_first_byte_seconds",
            "Until the first piece of a streamed answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "apprentice_tokens",
            "Tokens, as far as the answers say; streams say it only where the client asked.",
            ["kind", "adapter"],
            registry=self.registry,
        )
        self._tool_results = Counter(
            "apprentice_tool_results", "Results of tools that clients sent.", ["adapter"], registry=self.registry
        )
        self._tool_errors = Counter(
            "apprentice_tool_errors", "Results of tools that are errors.", ["adapter"], registry=self.registry
        )
        self._active = Gauge(
            "apprentice_active_adapter",
            "1 for the adapter that answers as `agent`.",
            ["adapter"],
            registry=self.registry,
        )
        self._adapters: set[str] = set()

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a figure that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def answered(self, route: str, status: int, adapter: str, seconds: float, tail: bytes) -> None:
        """Count one request that is done. ``tail``: the end of its answer, where the usage stands."""
        adapter = self._label(adapter)
        self._requests.labels(route, str(status), adapter).inc()
        self._seconds.labels(route).observe(seconds)
        at = tail.rfind(_USAGE)
        if at >= 0 and status == 200:
            for kind, count in _TOKENS.findall(tail, at):
                self._tokens.labels(kind.decode(), adapter).inc(int(count))

    def first_piece(self, route: str, seconds: float) -> None:
        self._first.labels(route).observe(seconds)

    def results_sent(self, messages: object, adapter: str) -> None:
        """Count the tool results that a request brings for the first time: those at its end."""
        results = latest_results(messages)
        if results:
            adapter = self._label(adapter)
            self._tool_results.labels(adapter).inc(len(results))
            self._tool_errors.labels(adapter).inc(sum(map(is_tool_error, results)))

    def text(self, active: str | None) -> bytes:
        self._active.clear()
        if active is not None:
            self._active.labels(active).set(1)
        return generate_latest(self.registry)

    def _label(self, adapter: str) -> str:
        if adapter in self._adapters or len(self._adapters) < _ADAPTERS:
            self._adapters.add(adapter)
            return adapter
        return _OTHER
