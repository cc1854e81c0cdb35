"""Making: calls that ran, requests that state them, nothing with a side effect, resumed without waste."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ModelUnavailable
from agent.text.matching import states
from evolver.config import MakeConfig
from evolver.errors import StageError
from evolver.generation.make import make
from evolver.generation.no_tool_requests import opening
from evolver.model.client import Generator
from evolver.store.jsonl import append_lines, read_lines
from evolver.types import Made, Mined, Task, Trace, TraceKind
from tests.fakes import shop_tools
from tests.fakes.evolution import trace
from tests.fakes.grammar_regex import regex_of
from tests.fakes.learner import Learner, is_json
from tests.fakes.model_server import ModelServer, Says
from tests.fakes.sandbox import InProcessSandbox
from tests.fakes.stages import context
from toolkit.errors import SandboxUnavailable
from toolkit.execute import Executor
from toolkit.sandbox import ExecResult

CONFIG = MakeConfig(calls_per_tool=3, requests_per_call=2, no_tool_requests=8, concurrency=3)
NOTHING = Mined(interactions=0, last_interaction_id="")


@dataclass
class Workshop:
    """What ``make`` needs; ``change`` may alter what the model says."""

    folder: Path
    learner: Learner
    server: ModelServer
    sandbox: InProcessSandbox = field(default_factory=InProcessSandbox)
    change: Callable[[dict[str, Any], Says], Says] = lambda request, says: says

    @property
    def file(self) -> Path:
        return self.folder / "traces.jsonl"

    def make(self, config: MakeConfig = CONFIG, mined: Mined = NOTHING, **rest: Any) -> Made:
        executor = Executor(shop_tools.registry(), self.sandbox)
        with Generator(self.server.url, concurrency=3) as generator:
            given = {name: rest.pop(name) for name in ("say",) if name in rest}
            given["allow_reads"] = config.allow_reads
            given["at_once"] = config.concurrency
            stage = context(self.folder, executor, generator, seed=rest.pop("seed", 5), **given)
            return make(stage, config, mined, **rest)

    def traces(self) -> list[Trace]:
        return read_lines(self.file, Trace)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    learner = Learner()
    learner.loaded = lambda: []
    shop: list[Workshop] = []
    with ModelServer(script=lambda request: shop[0].change(request, learner(request))) as server:
        shop.append(Workshop(tmp_path, learner, server))
        yield shop[0]


def changed_texts(
    change: Callable[[str, int], str], kind: str, **choice: Any
) -> Callable[[dict[str, Any], Says], Says]:
    """Changes the texts of completions constrained by ``kind`` (json: arguments; grammar: sentences)."""

    def apply(request: dict[str, Any], says: Says) -> Says:
        wanted = request.get("structured_outputs") or {}
        if says.raw is None or not wanted or is_json(wanted) is not (kind == "json"):
            return says
        body = json.loads(says.raw)
        for n, entry in enumerate(body["choices"]):
            entry.update(text=change(entry["text"], n), **choice)
        return Says(raw=json.dumps(body).encode())

    return apply


def test_every_trace_states_a_call_that_ran(workshop: Workshop) -> None:
    made = workshop.make()
    traces = workshop.traces()
    assert made.traces == len(traces) == sum(made.by_kind.values())
    assert made.by_kind == Counter(trace.kind for trace in traces)
    assert len({trace.id for trace in traces}) == len(traces)
    again = shop_tools.executor()
    for found in traces:
        if found.kind == "no_tool":
            assert (found.calls, found.results) == ((), ())
            assert found.answer == f"{found.request} Certainly. And then"
            continue
        (call,), (result,) = found.calls, found.results
        assert all(states(found.request, value) for value in call.arguments.values())
        function = getattr(shop_tools, call.name)
        if call.name != "keep_receipt":
            assert function(**call.arguments) == result
        assert again.registry.get(call.name) is not None
        assert found.mean_logprob < 0


def test_only_tools_without_effects_on_the_world_are_used(workshop: Workshop) -> None:
    workshop.make()
    used = {call.name for found in workshop.traces() for call in found.calls}
    assert used == {"add_prices", "box_count", "shout_label", "heaviest_parcel", "keep_receipt"}
    assert {name for _, name in workshop.sandbox.calls} == used


def test_reading_tools_are_used_when_that_is_allowed(workshop: Workshop) -> None:
    workshop.make(CONFIG.model_copy(update={"allow_reads": True}))
    assert "look_outside" in {name for _, name in workshop.sandbox.calls}
    assert "ring_bell" not in {name for _, name in workshop.sandbox.calls}


def test_arguments_are_sampled_under_the_tools_schema_and_requests_under_a_grammar(workshop: Workshop) -> None:
    workshop.make()
    asked = [request for request in workshop.server.requests if "prompt" in request]
    constraints = [r["structured_outputs"] for r in asked if "structured_outputs" in r]
    arguments = [wanted["regex"] for wanted in constraints if is_json(wanted)]
    patterns = [regex_of(wanted["grammar"]) for wanted in constraints if not is_json(wanted)]
    assert patterns
    for found in workshop.traces():
        for call in found.calls:
            assert any(re.fullmatch(pattern, json.dumps(call.arguments)) for pattern in arguments)
    for found in workshop.traces():
        if found.kind == "back_translation":
            assert any(re.fullmatch(pattern, f" {found.request}") for pattern in patterns)
    assert {request["model"] for request in asked} == {"base"}
    assert not any(request.get("seed") for request in asked)


def test_the_same_arguments_are_used_once(workshop: Workshop) -> None:
    workshop.change = changed_texts(lambda text, n: '{"first": 1, "second": 2}', "json")
    made = workshop.make()
    calls = [t.calls[0].arguments for t in workshop.traces() if t.calls and t.calls[0].name == "add_prices"]
    assert len({json.dumps(call) for call in calls}) == 1
    assert made.dropped["back_translation same_arguments"] == 5 * 2
    assert made.dropped["back_translation call_invalid_arguments"] == 4


def test_arguments_that_were_cut_off_are_counted(workshop: Workshop) -> None:
    workshop.change = changed_texts(lambda text, n: text[:-1], "json")
    made = workshop.make()
    assert made.dropped == {"back_translation arguments_cut_off": 5 * 3}
    assert set(made.by_kind) == {"no_tool"}


def test_calls_that_fail_are_counted_and_make_no_trace(workshop: Workshop) -> None:
    def zero(text: str, n: int) -> str:
        values = json.loads(text)
        return json.dumps({**values, "box_size": 0} if "box_size" in values else values)

    workshop.change = changed_texts(zero, "json")
    made = workshop.make()
    assert made.dropped["back_translation call_tool_failed"] == 3
    assert "box_count" not in {call.name for found in workshop.traces() for call in found.calls}


def test_requests_that_were_cut_off_make_no_trace_and_equal_ones_make_one(workshop: Workshop) -> None:
    workshop.change = changed_texts(lambda text, n: text, "grammar", finish_reason="length")
    assert set(workshop.make().by_kind) == {"no_tool"}
    for file in (workshop.file, workshop.file.with_name("lost.jsonl")):
        file.unlink()
    workshop.change = changed_texts(lambda text, n: re.sub("( now)+", "", text), "grammar")
    workshop.make()
    requests = Counter((t.request, json.dumps(t.calls[0].arguments)) for t in workshop.traces() if t.calls)
    assert requests
    assert set(requests.values()) == {1}


def test_of_equal_requests_the_likeliest_stays(workshop: Workshop) -> None:
    workshop.change = changed_texts(lambda text, n: re.sub("( now)+", "", text), "grammar")
    workshop.make()
    assert {round(t.mean_logprob, 3) for t in workshop.traces() if t.calls} == {-0.5}


def test_a_resumed_run_makes_only_what_is_missing(workshop: Workshop) -> None:
    whole = workshop.make()
    asked = workshop.learner.completions
    again = workshop.make()
    assert workshop.learner.completions == asked
    assert (again.traces, again.by_kind) == (whole.traces, whole.by_kind)
    lines = workshop.file.read_bytes().splitlines(keepends=True)
    lost = [line for line in lines if b'"id":"add_prices' in line]
    workshop.file.write_bytes(b"".join(line for line in lines if line not in lost) + lost[0][:40])
    resumed = workshop.make()
    names = {t.calls[0].name for t in workshop.traces()[len(lines) - len(lost) :] if t.calls}
    assert names == {"add_prices"}
    assert resumed.by_kind == whole.by_kind


def test_killed_in_the_middle_what_was_made_stays(workshop: Workshop) -> None:
    def stop(share: float, remark: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workshop.make(say=stop)
    before = workshop.traces()
    assert before
    made = workshop.make()
    assert workshop.traces()[: len(before)] == before
    assert made.traces == len({found.id for found in workshop.traces()}) == len(workshop.traces())


def test_logged_turns_become_traces_once(workshop: Workshop) -> None:
    logged = trace("add 1 and 2", "add_prices", {"first": 1, "second": 2}, 3, identity="log-1", kind=TraceKind.LOGGED)
    mined = Mined(interactions=1, last_interaction_id="1", worked=(logged,))
    for _ in range(2):
        assert workshop.make(mined=mined).by_kind["logged"] == 1
    assert [found for found in workshop.traces() if found.kind == "logged"] == [logged]


def test_when_the_time_is_over_nothing_new_is_begun(workshop: Workshop) -> None:
    times = iter([0.0, *[0.0] * 2, *[9e9] * 100])
    one = CONFIG.model_copy(update={"concurrency": 1})
    made = workshop.make(one, clock=lambda: next(times))
    assert made.dropped["back_translation out_of_time"] > 0
    assert 0 < made.traces == len(workshop.traces())


def test_what_came_to_nothing_is_counted_by_kind_also_by_who_goes_on(workshop: Workshop) -> None:
    workshop.change = changed_texts(lambda text, n: text if n else text[:-1], "json")
    first = workshop.make()
    assert first.dropped["back_translation arguments_cut_off"] > 0
    asked = len(workshop.learner.chats) + workshop.learner.completions
    assert workshop.make() == first
    assert len(workshop.learner.chats) + workshop.learner.completions == asked


def test_progress_rises_to_the_end(workshop: Workshop) -> None:
    seen: list[tuple[float, str]] = []
    made = workshop.make(say=lambda share, remark: seen.append((share, remark)))
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert seen[-1] == (1.0, f"{made.traces} traces")


def test_a_server_that_refuses_fails_the_stage_and_none_at_all_is_infrastructure(workshop: Workshop) -> None:
    workshop.change = lambda request, says: Says("too long", status=400)
    with pytest.raises(StageError, match="400"):
        workshop.make()
    with ModelServer() as gone:
        pass
    workshop.server = gone
    with pytest.raises(ModelUnavailable):
        workshop.make()


def test_a_broken_sandbox_is_no_verdict_on_calls(workshop: Workshop) -> None:
    class Broken(InProcessSandbox):
        def run(self, *_: Any, **__: Any) -> ExecResult:
            raise SandboxUnavailable("gone")

    workshop.sandbox = Broken()
    with pytest.raises(SandboxUnavailable):
        workshop.make()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two! And th", "One. Two! And"),
        ("  Why? ", ""),
        ("First line\nand mo", "First line"),
        ("", ""),
    ],
)
def test_opening(text: str, kept: str) -> None:
    assert opening(text) == kept


def test_a_reply_that_was_cut_off_has_an_open_end(workshop: Workshop) -> None:
    workshop.make()
    talk = [found for found in workshop.traces() if found.kind == "no_tool"]
    assert talk
    assert not any(found.open_end for found in talk)
    workshop.file.unlink()
    workshop.change = lambda request, says: Says("It is wha", finish_reason="length") if "messages" in request else says
    workshop.make()
    cut = [found for found in workshop.traces() if found.kind == "no_tool"]
    assert cut
    assert all((found.answer, found.open_end) == ("It is", True) for found in cut)


def test_lines_that_others_wrote_do_not_disturb(workshop: Workshop) -> None:
    append_lines(workshop.file, [NOTHING])
    assert workshop.make().traces == len(workshop.traces())


def test_logged_requests_are_tried_and_counted(workshop: Workshop) -> None:
    def agree(request: dict[str, Any], says: Says) -> Says:
        if "Add the prices 88 and 77." not in request.get("prompt", ""):
            return says
        choice = {"text": '{"first": 88, "second": 77}', "finish_reason": "stop", "logprobs": None}
        return Says(raw=json.dumps({"choices": [choice] * request["n"]}).encode())

    workshop.change = agree
    asked = Task(
        interaction_id="7-0", session="s", source="chat", request="Add the prices 88 and 77.", outcome="answered"
    )
    mined = Mined(interactions=1, last_interaction_id="7-0", tasks=(asked,))
    assert (
        workshop.make(CONFIG.model_copy(update={"self_consistency_requests": 0}), mined).by_kind.get("self_consistency")
        is None
    )
    workshop.file.unlink()
    made = workshop.make(mined=mined)
    assert made.by_kind["self_consistency"] == 1
    (found,) = [t for t in workshop.traces() if t.kind == "self_consistency"]
    assert (found.id, found.provenance.interaction_id, found.results) == ("self_consistency-7-0-0", "7-0", (165,))
    asked_before = len(workshop.server.requests)
    workshop.make(mined=mined)
    assert len(workshop.server.requests) == asked_before
