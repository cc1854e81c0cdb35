"""Asking the served model to continue a text: how the makers make."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from pydantic import JsonValue

from agent.http.address import asking_server
from agent.models.profile import EMBEDDED, ModelProfile
from agent.models.template_markers import NO_MARKERS, Markers
from agent.turn.messages import BASE
from agent.turn.model_client import own_headers
from evolver.errors import StageError
from evolver.model.prompts import reply_prompt
from evolver.model.sampling_schemas import json_pattern
from toolkit.frozen import Frozen

_TIMEOUT_SECONDS = 300.0


class Prompt(Frozen):
    """A text to continue, ``n`` times. ``json_schema`` constrains each continuation to JSON of that schema, ``regex``
    to texts that match it whole, ``grammar`` to texts of that EBNF (xgrammar's). ``sources`` are the interactions whose
    values it holds, for the log of requests."""

    text: str
    n: int = 1
    max_tokens: int = 48
    temperature: float = 0.7
    stop: tuple[str, ...] = ("\n",)
    json_schema: dict[str, JsonValue] | None = None
    regex: str | None = None
    grammar: str | None = None
    sources: tuple[str, ...] = ()


class Completion(Frozen):
    """``mean_logprob`` is the mean log-probability per token, nats; ``finished`` says that the text was not cut off."""

    text: str
    mean_logprob: float
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
        markers: Markers = NO_MARKERS,
        profile: ModelProfile = EMBEDDED,
    ) -> None:
        """``record`` gets route, body and answer of every request; evolver.model.request_log. Prompts are made free of
        ``markers``: they quote what people and tools said. ``profile`` is that of ``model``."""
        self.model = model
        self._record = record
        self._markers = markers
        self._profile = profile
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
        """Sample the ``n`` completions of one prompt. Raises ModelUnavailable, and StageError when the server
        refuses."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": self._profile.bare(self._markers.literal(prompt.text)),
            "n": prompt.n,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "logprobs": 1,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        pattern = prompt.regex or (json_pattern(prompt.json_schema) if prompt.json_schema else None)
        if prompt.grammar is not None:
            body["structured_outputs"] = {"grammar": prompt.grammar}
        elif pattern is not None:
            body["structured_outputs"] = {"regex": pattern}
        elif prompt.json_schema is not None:
            body["structured_outputs"] = {"json": prompt.json_schema}
        choices = self.ask("/v1/completions", body, prompt.sources)["choices"]
        return [_completion(choice) for choice in choices]

    def reply(self, request: str, *, max_tokens: int) -> Completion:
        """Ask for the base model's own answer to ``request``, asked without tools, greedily: what an adapter shall not
        unlearn.

        A model that was never taught to chat continues a text that shows how an assistant answers. Raises as
        ``complete`` does.
        """
        if self._profile.kind == "base":
            return self.complete(Prompt(text=reply_prompt(request), max_tokens=max_tokens, temperature=0.0))[0]
        body = {
            "model": BASE,
            "messages": [{"role": "user", "content": request}],
            "max_tokens": max_tokens,
            "temperature": 0.0,
        }
        choice = self.ask("/v1/chat/completions", body)["choices"][0]
        text = choice["message"].get("content") or ""
        return Completion(text=text, mean_logprob=0.0, finished=choice.get("finish_reason") == "stop")

    def ask(self, route: str, body: dict[str, Any], sources: Sequence[str] = ()) -> dict[str, Any]:
        """Return the server's answer to ``body``; ``sources`` are recorded with it. Raises as ``complete`` does."""
        with asking_server():
            response = self._http.post(route, json=body)
        if response.status_code != 200:
            raise StageError(f"the server refused a request: {response.status_code} {response.text[:300]}")
        answer = response.json()
        if self._record is not None:
            self._record(route, {**body, "sources": list(sources)} if sources else body, answer)
        return answer


def distinct(completions: list[Completion]) -> list[Completion]:
    """Return the finished ones, each text once, the likeliest first."""
    finished = sorted((c for c in completions if c.finished), key=lambda c: -c.mean_logprob)
    return list({completion.text.strip(): completion for completion in reversed(finished)}.values())[::-1]


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that ``text`` is; None where it is none, as when it was cut off."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _completion(choice: dict[str, Any]) -> Completion:
    logprobs = [value for value in (choice.get("logprobs") or {}).get("token_logprobs") or () if value is not None]
    mean = sum(logprobs) / len(logprobs) if logprobs else 0.0
    return Completion(text=choice["text"], mean_logprob=mean, finished=choice.get("finish_reason") == "stop")
