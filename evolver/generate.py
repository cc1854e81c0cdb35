"""Asking the served model to continue a text: how the makers make."""

from typing import Any

import httpx
from pydantic import JsonValue

from agent.errors import NO_SERVER, ModelUnavailable
from agent.messages import BASE
from agent.model_client import LOG_HEADER
from evolver.errors import StageError
from evolver.types import Frozen

_TIMEOUT_SECONDS = 300.0


class Prompt(Frozen):
    """A text to continue, ``n`` times. ``json_schema`` constrains each continuation to JSON of that schema, ``regex``
    to texts that match it whole."""

    text: str
    n: int = 1
    max_tokens: int = 48
    temperature: float = 0.7
    stop: tuple[str, ...] = ("\n",)
    json_schema: dict[str, JsonValue] | None = None
    regex: str | None = None


class Completion(Frozen):
    """``likelihood`` is the mean log-probability per token, nats; ``finished`` says that the text was not cut off."""

    text: str
    likelihood: float
    finished: bool


class Generator:
    """Completions of ``model`` from the gateway at ``base_url``. Thread-safe: ``concurrency`` callers at once keep the
    engine full. Use it in a ``with``."""

    def __init__(self, base_url: str, *, model: str = BASE, concurrency: int = 8) -> None:
        self._model = model
        self.concurrency = concurrency
        # The gateway closes idle connections after 5 s; one that it is closing must not be used again.
        limits = httpx.Limits(max_connections=concurrency, keepalive_expiry=3)
        self._http = httpx.Client(
            base_url=base_url, headers={LOG_HEADER: "no"}, trust_env=False, limits=limits, timeout=_TIMEOUT_SECONDS
        )

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def complete(self, prompt: Prompt) -> list[Completion]:
        """The ``n`` completions of one prompt. Raises ModelUnavailable, and StageError when the server refuses."""
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt.text,
            "n": prompt.n,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "logprobs": 1,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.json_schema is not None:
            body["structured_outputs"] = {"json": prompt.json_schema}
        elif prompt.regex is not None:
            body["structured_outputs"] = {"regex": prompt.regex}
        choices = self._post("/v1/completions", body)["choices"]
        return [_completion(choice) for choice in choices]

    def reply(self, request: str, *, max_tokens: int) -> Completion:
        """The model's own answer to ``request``, asked without tools, greedily. Raises as ``complete`` does."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": request}],
            "max_tokens": max_tokens,
            "temperature": 0.0,
        }
        choice = self._post("/v1/chat/completions", body)["choices"][0]
        text = choice["message"].get("content") or ""
        return Completion(text=text, likelihood=0.0, finished=choice.get("finish_reason") == "stop")

    def _post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._http.post(route, json=body)
        except httpx.ConnectError:
            raise ModelUnavailable(NO_SERVER) from None
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"the server went away while answering ({type(error).__name__})") from error
        if response.status_code != 200:
            raise StageError(f"the server refused a request: {response.status_code} {response.text[:300]}")
        return response.json()


def _completion(choice: dict[str, Any]) -> Completion:
    logprobs = [value for value in (choice.get("logprobs") or {}).get("token_logprobs") or () if value is not None]
    mean = sum(logprobs) / len(logprobs) if logprobs else 0.0
    return Completion(text=choice["text"], likelihood=mean, finished=choice.get("finish_reason") == "stop")
