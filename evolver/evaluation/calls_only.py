"""A client for scoring calls: an answer that is a text is not generated to its end, since nobody reads it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.errors import ModelError
from agent.turn.model_client import HttpModelClient, ModelClient, ModelReply

_TEXT_LIMIT = 40
"""Characters of a text that are read: enough to show what it says."""


@dataclass(frozen=True)
class CallsOnly:
    """ModelClient that ends an answer which is a text after its first characters.

    Only for models whose calls come before any text (agent.models.profile).
    """

    client: HttpModelClient

    def chat(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> ModelReply:
        """Return the reply. Raises ModelUnavailable and ModelError."""
        for piece in self.stream(request, timeout_seconds=timeout_seconds):
            if isinstance(piece, ModelReply):
                return piece
        raise ModelError("the stream ended without a reply")

    def stream(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Iterator[str | ModelReply]:
        return self.client.stream(request, timeout_seconds=timeout_seconds, text_limit=_TEXT_LIMIT)


def client_for(client: HttpModelClient, *, calls_come_first: bool) -> ModelClient:
    """Return the client to score calls with."""
    return CallsOnly(client) if calls_come_first else client
