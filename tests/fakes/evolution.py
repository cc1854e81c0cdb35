"""Values that stages pass on, made with few words, and adapter folders that pass every check."""

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agent.messages import Feedback, Interaction, Message, Sampling, StopReason, Trajectory
from agent.serving import adapter_folder
from evolver import adapter_files
from evolver.adapter_files import MANIFEST, PEFT_CONFIG, WEIGHTS, Manifest, Metrics, Probe
from evolver.evaluate import report
from evolver.suites import Suite
from evolver.types import Adapter, Call, EvalReport, ItemScore, Maker, Trace
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
    maker: Maker | None = None,
    answer: str = "",
    likelihood: float = 0.0,
) -> Trace:
    """A trace with one call; without ``name``: small talk."""
    return Trace(
        id=identity or request,
        maker=maker or ("answer_first" if name else "small_talk"),
        request=request,
        calls=(Call(name=name, arguments=dict(arguments or {})),) if name else (),
        results=(result,) if name else (),
        answer=answer or ("" if name else "Well, well."),
        likelihood=likelihood,
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


def eval_report(
    exact: Sequence[bool] = (),
    silent: Sequence[bool] = (),
    *,
    malformed: int = 0,
    failed: int = 0,
    called: bool = True,
    model: str = "m",
) -> EvalReport:
    """``exact``: of each request that needs a tool; ``silent``: rightly no call, of each other one."""
    items = [
        ItemScore(id=f"c{n}", needs_tool=True, exact=hit, right_tool=hit, called=called, malformed=n < malformed)
        for n, hit in enumerate(exact)
    ]
    items += [
        ItemScore(
            id=f"n{n}",
            needs_tool=False,
            exact=False,
            right_tool=False,
            called=not hit,
            malformed=False,
            failed=n < failed,
        )
        for n, hit in enumerate(silent)
    ]
    return report(Suite(name="tiny", sha256="0" * 64, items=()), model, items)


def publish_adapter(
    data_folder: Path,
    name: str,
    *,
    base_sha256: str = "b" * 64,
    dataset_sha256: str = "d" * 64,
    probe: Probe | None = None,
    parent: str | None = None,
    tenants: Mapping[str, int] | None = None,
) -> Adapter:
    """An adapter of one matrix pair, published as training publishes."""
    target = data_folder / "adapters" / name
    draft = target.with_name(f".{name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shapes = {"q_proj.lora_A.weight": [8, 4], "q_proj.lora_B.weight": [4, 8]}
    header = {
        key: {"dtype": "F32", "shape": shape, "data_offsets": [128 * n, 128 * (n + 1)]}
        for n, (key, shape) in enumerate(shapes.items())
    }
    text = json.dumps(header).encode()
    (draft / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + bytes(256))
    (draft / PEFT_CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    manifest = Manifest(
        name=name,
        files={file: adapter_folder.file_sha256(draft / file) for file in (WEIGHTS, PEFT_CONFIG)},
        base_model="tiny",
        base_sha256=base_sha256,
        template_sha256="t",
        dataset_sha256=dataset_sha256,
        tenants=dict(tenants or {}),
        parent=parent,
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
        probe=probe,
        wall_seconds=1.0,
        created_at=0.0,
        versions={},
    )
    adapter_files.publish(draft, target, manifest)
    return Adapter(name=name, folder=target, sha256=adapter_files.manifest_sha256(target))


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
