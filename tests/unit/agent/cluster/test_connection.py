"""What a process that Ray started refuses to work for."""

from dataclasses import replace

import pytest

from agent.cluster.connection import refusal
from agent.cluster.installation import installed


def test_a_node_without_a_token_or_with_another_installation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert refusal(installed()).startswith("it runs what anybody sends it; start Ray there with RAY_AUTH_MODE=token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert refusal(installed()) == ""
    other = replace(installed(), code="0" * 64)
    assert refusal(other).endswith("instead of 00000000); install there what is installed here")
