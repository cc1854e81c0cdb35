"""Asking the served model to continue a text: how the makers make."""

import json
from collections.abc import Callable
from typing import Any

import httpx
from pydantic import JsonValue

from agent.errors import NO_SERVER, ModelUnavailable
from agent.messages import BASE
from agent.model_client import own_headers
from evolver.errors import StageError
from evolver.schemas import json_pattern
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

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        model: str = BASE,
        concurrency: int = 8,
        record: Callable[..., None] | None = None,
    ) -> None:
        """``record`` gets route, body and answer of every request; evolver.request_log."""
        self.model = model
        self._record = record
        self.concurrency = concurrency
        limits = httpx.Limits(max_connections=concurrency)
        self._http = httpx.Client(
            base_url=base_url, headers=own_headers(api_key), trust_env=False, limits=limits, timeout=_TIMEOUT_SECONDS
        )

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def complete(self, prompt: Prompt) -> list[Completion]:
        """The ``n`` completions of one prompt. Raises ModelUnavailable, and StageError when the server refuses."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt.text,
            "n": prompt.n,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "logprobs": 1,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        pattern = prompt.regex or (json_pattern(prompt.json_schema) if prompt.json_schema else None)
        if pattern is not None:
            body["structured_outputs"] = {"regex": pattern}
        elif prompt.json_schema is not None:
            body["structured_outputs"] = {"json": prompt.json_schema}
        choices = self._post("/v1/completions", body)["choices"]
        return [_completion(choice) for choice in choices]

    def likelihood(self, text: str, continuation: str) -> float:
        """The mean log-probability per token, nats, of ``continuation`` after ``text``. Raises as ``complete`` does."""
        body = {
            "model": self.model,
            "prompt": text + continuation,
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        }
        places = self._post("/v1/completions", body)["choices"][0]["prompt_logprobs"]
        found: list[float] = []
        missing = len(continuation)
        for place in reversed(places):
            if missing <= 0 or place is None:
                break
            token = next(iter(place.values()))  # the prompt's own; the likeliest may stand behind it
            found.append(token["logprob"])
            missing -= len(token["decoded_token"])
        return sum(found) / len(found) if found else 0.0

    def reply(self, request: str, *, max_tokens: int) -> Completion:
        """The base model's own answer to ``request``, asked without tools, greedily: what an adapter shall not unlearn.

        Raises as ``complete`` does.
        """
        body = {
            "model": BASE,
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
        answer = response.json()
        if self._record is not None:
            self._record(route, body, answer)
        return answer


def distinct(completions: list[Completion]) -> list[Completion]:
    """The finished ones, each text once, the likeliest first."""
    finished = sorted((c for c in completions if c.finished), key=lambda c: -c.likelihood)
    return list({completion.text.strip(): completion for completion in reversed(finished)}.values())[::-1]


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that ``text`` is; None where it is none, as when it was cut off."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _completion(choice: dict[str, Any]) -> Completion:
    logprobs = [value for value in (choice.get("logprobs") or {}).get("token_logprobs") or () if value is not None]
    mean = sum(logprobs) / len(logprobs) if logprobs else 0.0
    return Completion(text=choice["text"], likelihood=mean, finished=choice.get("finish_reason") == "stop")
