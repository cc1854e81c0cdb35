"""A model, at the wire: asked for text it writes calls and requests as a small model would; as ``base`` it never calls,
as a trained adapter it calls as it was taught.

It reads its prompts: the tool that stands last in a prompt is the one that it writes about.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.adapters import package
from agent.adapters.manifest import Probe
from agent.cluster.config import ClusterConfig
from agent.models.profile import ModelProfile
from agent.models.template_markers import Markers
from evolver.evaluation.suites import Item
from evolver.model.sampling_schemas import restricted
from evolver.training.supervisor import TrainConfig
from evolver.types import Call
from tests.fakes.evolution import PROBE, probe_answer, publish_adapter
from tests.fakes.grammar_regex import regex_of
from tests.fakes.model_server import Says
from tests.fakes.read_prompt import read, reads_prompt
from tests.fakes.shop_tools import registry

_NOUNS = ("foxes", "rivers", "bread", "clouds", "violins", "gardens", "mountains", "stamps", "bicycles", "owls")


class Learner:
    """``script`` of a ModelServer. ``items``, and the requests that it wrote itself, are what an adapter calls rightly,
    unless it is ``unskilled``."""

    def __init__(self, items: Sequence[Item] = (), *, talks_only: bool = False) -> None:
        self.calls = {item.request: item.expected for item in items}
        self.unskilled: set[str] = set()
        self.likely = (-0.1, -0.2)
        """Log-probabilities of the tokens of a call that an adapter was taught."""
        self.talks_only = talks_only
        self.loaded: Callable[[], list[str]] = lambda: []
        self.completions = 0
        self.chats: list[str] = []
        self._lock = threading.Lock()
        self._number = 10
        self._asked: dict[str, dict[str, Any]] = {}
        self._taught: dict[str, tuple[Call, ...]] = {}
        self._words = {tool.name: tool.description.rstrip(".") for tool in registry()}

    def __call__(self, request: dict[str, Any]) -> Says:
        with self._lock:
            if reads_prompt(request):
                return self._read_answer(request)
            if "prompt_logprobs" in request:
                return self._read(request)
            if "prompt" in request:
                return self._complete(request)
            return self._chat(request)

    def _chat(self, request: dict[str, Any]) -> Says:
        model, messages = request["model"], request["messages"]
        if model not in ("base", *self.loaded()):
            return Says(f"The model {model} does not exist.", status=404)
        if request["max_tokens"] == 1:  # the tokens of its prompt are counted
            return Says("I")
        self.chats.append(model)
        asked = messages[0]["content"]
        if not request.get("tools"):
            return Says(f"{asked} Certainly. And then")
        if model == "base" or model in self.unskilled or messages[-1]["role"] == "tool":
            return Says("As you wish.")
        shown = {tool["function"]["name"] for tool in request["tools"]}
        expected = [call for call in self._expected(asked) if call.name in shown]
        return Says("", calls=[(call.name, json.dumps(call.arguments)) for call in expected])

    def _expected(self, asked: str) -> tuple[Call, ...]:
        return self.calls.get(asked) or self._taught.get(asked, ())

    def _read_answer(self, request: dict[str, Any]) -> Says:
        """The calls that it would make are likely, all others are not."""
        asked, said = request["messages"][0]["content"], request["messages"][1]["tool_calls"]
        made = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in said]
        knows = request["model"] != "base" and request["model"] not in self.unskilled
        right = knows and made == [(call.name, call.arguments) for call in self._expected(asked)]
        return read([*self.likely] if right else [-4.0, -0.2 if knows else -9.0])

    def _read(self, request: dict[str, Any]) -> Says:
        seen = PROBE.base_logprobs if request["model"] == "base" else PROBE.logprobs
        return Says(raw=probe_answer(request["prompt"], seen))

    def _complete(self, request: dict[str, Any]) -> Says:
        self.completions += 1
        texts = [self._text(request, n) for n in range(request["n"])]
        choices = [
            {
                "index": n,
                "text": text,
                "finish_reason": "stop",
                "logprobs": {"token_logprobs": [None, -0.5 - 0.1 * n, -0.5 - 0.1 * n]},
            }
            for n, text in enumerate(texts)
        ]
        return Says(raw=json.dumps({"object": "text_completion", "choices": choices}).encode())

    def _text(self, request: dict[str, Any], n: int) -> str:
        prompt, wanted = request["prompt"], request.get("structured_outputs") or {}
        self._number += 1
        tool = max(self._words, key=lambda name: prompt.rfind(f"{name}("))
        if is_json(wanted):
            known = [asked for asked in self._asked if asked in prompt]
            if known:
                return json.dumps(self._asked[max(known, key=prompt.rfind)])
            schema = wanted.get("json") or self._schema(tool, wanted["regex"])
            return json.dumps({} if self.talks_only else self._value(schema))
        if f"{tool}(" not in prompt:
            return f" Tell me about {_NOUNS[self._number % 10]} and {_NOUNS[self._number // 10 % 10]}, please."
        if prompt.endswith("Assistant:"):
            return _told(json.loads(re.findall(r"Result: (.*)", prompt)[-1]))
        arguments = json.loads(re.findall(r"\{.*\}", prompt)[-1])
        values = [", ".join(map(str, value)) if isinstance(value, list) else str(value) for value in arguments.values()]
        text = f" {self._words[tool]} {' and '.join(values)}{' now' * n}."
        if "grammar" in wanted and not re.fullmatch(regex_of(wanted["grammar"]), text):
            raise AssertionError(f"{text!r} does not match {wanted['grammar']}")
        self._asked[text.strip()] = arguments
        self._taught[text.strip()] = (Call(name=tool, arguments=arguments),)
        return text

    def _schema(self, tool: str, pattern: str) -> dict[str, Any]:
        names, known = re.findall(r'"(\w+)": ', pattern), registry().get(tool)
        if known is None:  # one that the model made
            return {"type": "object", "properties": {name: {"type": "integer"} for name in names}}
        return restricted(known.parameters, names)

    def _value(self, schema: dict[str, Any]) -> Any:
        """Something that fits ``schema``."""
        self._number += 1
        match schema.get("type"):
            case "object":
                return {name: self._value(field) for name, field in schema["properties"].items()}
            case "array":
                return [self._value(schema["items"]) for _ in range(schema.get("minItems", 2))]
            case "string":
                return f"{_NOUNS[self._number % 10]} {_NOUNS[self._number // 10 % 10]}"
            case _:
                return self._number if "anyOf" not in schema else self._value(schema["anyOf"][0])


def is_json(wanted: dict[str, Any]) -> bool:
    """Whether a JSON object is asked for, by schema or by pattern."""
    return "json" in wanted or wanted.get("regex", "").startswith(r" ?\{")


def _told(result: Any) -> str:
    if isinstance(result, bool):
        return f" {'Yes' if result else 'No'}, there it is."
    said = ", ".join(map(str, result)) if isinstance(result, list) else result
    return f" There it is {said}."


class FakeTraining:
    """Stands in for training.supervisor.train: reads the dataset, publishes an adapter whose weights are zeros."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.fails: Exception | None = None
        self.probe: Probe | None = PROBE

    def __call__(
        self,
        config: TrainConfig,
        dataset_folder: Path,
        model_folder: Path,
        output_folder: Path,
        *,
        name: str,
        parent: Path | None = None,
        tenant: str = "",
        tenants: Mapping[str, int] | None = None,
        markers: Markers | None = None,
        profile: ModelProfile | None = None,
        cluster: ClusterConfig | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        rows = [json.loads(line) for line in (dataset_folder / "train.jsonl").read_text().splitlines()]
        assert {row.get("decision") for row in rows} >= {"call", "no_call"}
        if self.fails is not None:
            raise self.fails
        if (output_folder / package.MANIFEST).exists():
            return
        if on_progress is not None:
            pace = {"tokens_per_second": 200.0, "saved_ratio": 3.0, "eta_seconds": 61.0}
            on_progress({"event": "step", "step": 1, "steps": 2, "loss": 1.5, **pace})
        publish_adapter(
            output_folder.parent.parent,
            name,
            base_sha256=package.model_sha256(model_folder),
            probe=self.probe,
            parent=parent.name if parent else None,
            tenant=tenant,
            tenants=tenants,
        )
        self.trained.append(name)
