"""Values that stages pass on, made with few words, and adapter folders that pass every check."""

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agent.adapters import package
from agent.adapters.manifest import Manifest, Metrics, Probe
from agent.adapters.package import MANIFEST, PEFT_CONFIG, WEIGHTS
from agent.log.queries import SessionKey, session_of
from agent.turn.messages import Feedback, Interaction, Message, Sampling, StopReason, Trajectory
from evolver.config import MineConfig
from evolver.evaluation.evaluate import report
from evolver.evaluation.suites import Suite
from evolver.lessons.client_tools import OwnTools
from evolver.mining.mine import mine
from evolver.mining.uncertainty import SampleCalls
from evolver.scores import EvalReport, ItemScore
from evolver.store.sessions import whole_turns
from evolver.types import Adapter, Call, Mined, Trace, TraceKind
from toolkit.file_hash import file_sha256
from toolkit.tool import ToolCall, ToolError, ToolErrorKind, ToolResult

PROBE = Probe(tokens=(5, 6, 7, 8, 9), logprobs=(-1.0, -2.0, -0.5, -3.0), base_logprobs=(-2.0, -2.5, -1.5, -3.2))
"""How an adapter that was trained with it sees a text, and how the base model does."""


def trace(
    request: str,
    name: str = "",
    arguments: Mapping[str, Any] | None = None,
    result: JsonValue = None,
    *,
    identity: str = "",
    kind: TraceKind | None = None,
    answer: str = "",
    mean_logprob: float = 0.0,
) -> Trace:
    """A trace with one call; without ``name``: small talk."""
    return Trace(
        id=identity or request,
        kind=kind or (TraceKind.BACK_TRANSLATION if name else TraceKind.NO_TOOL),
        request=request,
        calls=(Call(name=name, arguments=dict(arguments or {})),) if name else (),
        results=(result,) if name else (),
        answer=answer or ("" if name else "Well, well."),
        mean_logprob=mean_logprob,
    )


def turn(
    request: str,
    *calls: tuple[str, Mapping[str, Any], Any],
    answer: str = "Here you are.",
    stop_reason: StopReason = "answered",
    adapter: str = "base",
    history: Sequence[Message] = (),
) -> Trajectory:
    """A turn that made ``calls`` (name, arguments, result or error), then answered."""
    messages = [Message(role="user", content=request)]
    for n, (name, arguments, result) in enumerate(calls):
        call = ToolCall(id=f"c{n}", name=name, arguments=dict(arguments))
        failed = isinstance(result, ToolErrorKind)
        error = ToolError(kind=ToolErrorKind(result), message="no") if failed else None
        came = ToolResult(call_id=call.id, name=name, value=None if failed else result, error=error)
        messages += [
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content=str(result), tool_result=came),
        ]
    if answer:
        messages.append(Message(role="assistant", content=answer))
    return Trajectory(
        history=tuple(history),
        messages=tuple(messages),
        tools=(),
        adapter=adapter,
        prompt_version="v",
        sampling=Sampling(),
        stop_reason=stop_reason,
    )


def interaction(
    trajectory: Trajectory, number: int = 1, *, session: str = "s", source: str = "chat", verdict: str = ""
) -> Interaction:
    said = (Feedback.model_validate({"interaction_id": f"{number:012x}-0000", "verdict": verdict}),) if verdict else ()
    return Interaction(
        id=f"{number:012x}-0000",
        session=session,
        source=source,
        created_at=float(number),
        trajectory=trajectory,
        feedback=said,
    )


def by_session(interactions: Sequence[Interaction]) -> list[Interaction]:
    """Whole turns as ``InteractionLog.whole_turns`` gives them."""
    return sorted(whole_turns(interactions), key=lambda turn: (session_of(turn), turn.id))


@dataclass(frozen=True)
class ListedTurns:
    """``interactions`` to mine, after an earlier ``context``: evolver.mining.mine.Turns without a database."""

    interactions: Sequence[Interaction]
    context: Sequence[Interaction] = ()

    @property
    def new(self) -> int:
        return len(self.interactions)

    @property
    def last(self) -> str:
        return self.interactions[-1].id if self.interactions else ""

    def is_new(self, turn: Interaction) -> bool:
        return turn.id in {interaction.id for interaction in self.interactions}

    def by_session(self, session: SessionKey | None = None) -> list[Interaction]:
        turns = by_session([*self.context, *self.interactions])
        return [turn for turn in turns if session is None or session_of(turn) == session]

    def schemas(self, interaction_id: str) -> Sequence[dict[str, Any]]:
        turns = [*self.context, *self.interactions]
        return next(turn.tool_schemas for turn in turns if turn.id == interaction_id)


def mined(
    config: MineConfig,
    interactions: Sequence[Interaction],
    *,
    context: Sequence[Interaction] = (),
    own: OwnTools | None = None,
    sample_calls: SampleCalls | None = None,
    learn_from_upstream: bool = False,
) -> Mined:
    turns = ListedTurns(interactions, context)
    return mine(config, turns, own=own, sample_calls=sample_calls, learn_from_upstream=learn_from_upstream)


def eval_report(
    exact: Sequence[bool] = (),
    silent: Sequence[bool] = (),
    *,
    invalid: int = 0,
    failed: int = 0,
    called: bool = True,
    model: str = "m",
) -> EvalReport:
    """A report. ``exact``: whether the call is right, for each request that needs a tool. ``silent``: whether no
    call is made, for each other request. What is right is likely, what is wrong is not."""
    items = [
        ItemScore(
            id=f"c{n}",
            needs_tool=True,
            exact=hit,
            right_tool=hit,
            called=called,
            invalid_call=n < invalid,
            logprob=-0.5 if hit else -8.0,
        )
        for n, hit in enumerate(exact)
    ]
    items += [
        ItemScore(
            id=f"n{n}",
            needs_tool=False,
            exact=False,
            right_tool=False,
            called=not hit,
            invalid_call=False,
            failed=n < failed,
            logprob=-0.1 if hit else -2.0,
        )
        for n, hit in enumerate(silent)
    ]
    return report(Suite(name="tiny", sha256="0" * 64, items=()), model, items)


LORA = {"model.q_proj.lora_A.weight": [8, 4], "model.q_proj.lora_B.weight": [4, 8]}


def adapter_draft(folder: Path, shapes: Mapping[str, list[int]] = LORA, **peft: object) -> Path:
    """``folder`` made with weights of these shapes and PEFT's settings."""
    folder.mkdir(parents=True)
    header, offset = {}, 0
    for name, (rows, columns) in shapes.items():
        size = 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))
    (folder / PEFT_CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 8, **peft}))
    return folder


def a_manifest(
    name: str, files: Mapping[str, str], *, base_sha256: str = "b" * 64, dataset_sha256: str = "d" * 64
) -> Manifest:
    return Manifest(
        name=name,
        files=dict(files),
        base_model="tiny",
        base_sha256=base_sha256,
        template_sha256="t",
        dataset_sha256=dataset_sha256,
        hyper_parameters={},
        seed=0,
        metrics=Metrics(
            loss_first=2.0,
            loss_last=1.0,
            steps=1,
            lessons=1,
            epochs_done=1.0,
            tokens_computed=1,
            tokens_saved=0,
            target_tokens=1,
        ),
        wall_seconds=1.0,
        created_at=0.0,
        versions={},
    )


def manifest_of(draft: Path, name: str, *, base_sha256: str = "b" * 64, dataset_sha256: str = "d" * 64) -> Manifest:
    """The manifest of the files in ``draft``."""
    files = {file: file_sha256(draft / file) for file in (WEIGHTS, PEFT_CONFIG)}
    return a_manifest(name, files, base_sha256=base_sha256, dataset_sha256=dataset_sha256)


def publish_adapter(
    data_folder: Path,
    name: str,
    *,
    base_sha256: str = "b" * 64,
    dataset_sha256: str = "d" * 64,
    probe: Probe | None = None,
    parent: str | None = None,
    tenant: str = "",
    tenants: Mapping[str, int] | None = None,
) -> Adapter:
    """An adapter of one matrix pair, published as training publishes."""
    target = data_folder / "adapters" / name
    draft = target.with_name(f".{name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    adapter_draft(draft)
    manifest = manifest_of(draft, name, base_sha256=base_sha256, dataset_sha256=dataset_sha256).model_copy(
        update={"tenant": tenant, "tenants": dict(tenants or {}), "parent": parent, "probe": probe}
    )
    package.publish(draft, target, manifest)
    return Adapter(name=name, folder=target, sha256=package.manifest_sha256(target))


def tamper(adapter: Adapter) -> None:
    """One bit of the weights flips."""
    file = adapter.folder / WEIGHTS
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def tamper_manifest(adapter: Adapter) -> None:
    """Another manifest that fits its files: somebody exchanged the whole adapter."""
    file = adapter.folder / MANIFEST
    file.write_text(file.read_text().replace('"wall_seconds": 1.0', '"wall_seconds": 2.0'))


def probe_answer(prompt: Sequence[int], logprobs: Sequence[float]) -> bytes:
    """What vLLM answers to a request with ``prompt_logprobs``."""
    places = [{str(token): {"logprob": value}} for token, value in zip(prompt[1:], logprobs, strict=True)]
    return json.dumps({"choices": [{"prompt_logprobs": [None, *places]}]}).encode()
