"""Figures of a gateway, as Prometheus reads them."""

import re

from agent.serving.gateway.metrics import Metrics


def test_adapters_beyond_the_first_64_share_a_label() -> None:
    metrics = Metrics()
    for number in range(70):
        metrics.answered("chat", 200, f"adapter-{number:04d}", 0.1, b"")
    labels = set(re.findall(r'requests_total\{[^}]*adapter="([^"]*)"', metrics.text(None).decode()))
    assert len(labels) == 65
    assert "other" in labels
