"""Training a tiny model from a dataset folder to an adapter folder, with what can go wrong on the way."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
torch.set_num_threads(1)

from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast  # noqa: E402

from evolver import train_worker  # noqa: E402
from evolver.adapter_files import WEIGHTS, Manifest, file_sha256, model_sha256, verify  # noqa: E402
from evolver.errors import TrainError  # noqa: E402
from evolver.train import TrainConfig, _spec, train  # noqa: E402
from evolver.training.render import RowInvalid  # noqa: E402

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        },
    }
]
CONFIG = TrainConfig(
    rank=8, alpha=16, learning_rate=0.02, epochs=2, tokens_per_pack=600, checkpoint_seconds=0, threads=1
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with one token per byte."""
    folder = tmp_path_factory.mktemp("tiny-model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", bos_token="<|im_start|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.4,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def _row(number: int, *, calls: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "assistant", "content": "No tool fits."}
    if calls:
        arguments = json.dumps({"a": number, "b": 2})
        call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": arguments}}
        answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    user = {"role": "user", "content": f"Add {number} and 2." if calls else f"Tell story {number}."}
    decision = "call" if calls else "no_call"
    return {"id": f"r{number}", "messages": [user, answer], "tools": TOOLS, "targets": [1], "decision": decision}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    _write(folder, "train", [_row(i, calls=i % 2 == 0) for i in range(16)])
    _write(folder, "valid", [_row(i, calls=i % 2 == 0) for i in range(30, 46)])
    return folder


def _write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run(
    dataset: Path, model: Path, output: Path, emit: Callable[[dict[str, Any]], None] = lambda _: None, **changes: Any
) -> Manifest:
    parent = changes.pop("parent", None)
    config = CONFIG.model_copy(update=changes)
    return train_worker.run(_spec(config, dataset, model, output, output.name, parent), emit)


class _Killed(BaseException):
    """Nothing in the worker catches it: the run ends where a kill would end it."""


def test_adapter_learns_and_loads_in_peft(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    output = tmp_path / "adapter-0001"
    manifest = _run(dataset, tiny_model, output, events.append, epochs=6)
    assert verify(output, base_sha256=model_sha256(tiny_model)) == manifest
    assert manifest.metrics.loss_last < manifest.metrics.loss_first - 0.5
    assert manifest.metrics.tokens_saved > manifest.metrics.tokens_computed
    assert manifest.metrics.epochs_done == 6
    assert manifest.calibration is not None
    assert (manifest.calibration.n_call, manifest.calibration.n_no_call) == (8, 8)
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, manifest.metrics.steps + 1))
    assert steps[-1].keys() == {
        "event", "step", "steps", "loss", "tokens_per_second", "saved_ratio", "eta_seconds"
    }  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([[1, 2, 3]])
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, str(output))(ids).logits
    assert not torch.allclose(before, after)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["adapter-0001"], "work folders are gone"


def test_same_seed_same_bytes_and_a_cut_off_run_ends_like_an_undisturbed_one(
    dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    _run(dataset, tiny_model, tmp_path / "whole")
    output = tmp_path / "cut"
    for stop_at in (2, 3, 5):

        def killed(event: dict[str, Any], at: int = stop_at) -> None:
            if event["event"] == "step" and event["step"] == at:
                raise _Killed

        with pytest.raises(_Killed):
            _run(dataset, tiny_model, output, killed)
        assert not output.exists()
    events: list[dict[str, Any]] = []
    _run(dataset, tiny_model, output, events.append)
    assert {"event": "resumed", "step": 4} in events
    assert file_sha256(output / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def test_a_child_continues_its_parent(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    parent, child = tmp_path / "adapter-0001", tmp_path / "adapter-0002"
    first = _run(dataset, tiny_model, parent, epochs=6)
    second = _run(dataset, tiny_model, child, parent=parent, epochs=1)
    assert second.parent == "adapter-0001"
    assert second.metrics.loss_first < first.metrics.loss_first - 0.5
    assert verify(parent) == first, "the parent is never edited"


def test_changed_inputs_do_not_continue_an_old_run(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapter-0001"

    def killed(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":
            raise _Killed

    with pytest.raises(_Killed):
        _run(dataset, tiny_model, output, killed)
    events: list[dict[str, Any]] = []
    _run(dataset, tiny_model, output, events.append, learning_rate=0.01)
    assert "resumed" not in {event["event"] for event in events}


def test_lack_of_memory_halves_the_packs_and_goes_on(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolver.training import loop

    original = loop.score

    def small_memory(model: Any, pack: Any) -> Any:
        if len(pack.tokens) > 450:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return original(model, pack)

    monkeypatch.setattr(loop, "score", small_memory)
    events: list[dict[str, Any]] = []
    manifest = _run(dataset, tiny_model, tmp_path / "adapter-0001", events.append)
    assert [event["packs_per_step"] for event in events if event["event"] == "out_of_memory"] == [2]
    assert manifest.metrics.epochs_done == 2


def test_a_loss_that_is_no_number_fails_with_the_reason(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainError, match=r"\(diverged\).*nan"):
        _run(dataset, broken, tmp_path / "adapter-0001")
    assert not (tmp_path / "adapter-0001").exists()


def test_rows_that_cannot_be_lessons_are_named(tiny_model: Path, tmp_path: Path) -> None:
    row = _row(1, calls=True)
    _write(tmp_path, "valid", [])
    _write(tmp_path, "train", [{**row, "targets": [0]}])
    with pytest.raises(RowInvalid, match="row r1: target 0 is no assistant message"):
        _run(tmp_path, tiny_model, tmp_path / "a")
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = "{"
    _write(tmp_path, "train", [row])
    with pytest.raises(RowInvalid, match="arguments of add are no JSON"):
        _run(tmp_path, tiny_model, tmp_path / "a")


def test_the_process_reports_and_kill_9_then_resume_gives_the_same_adapter(
    dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    _run(dataset, tiny_model, tmp_path / "whole")
    output = tmp_path / "adapter-0001"
    before = set(_workers())

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            for pid in set(_workers()) - before:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainError, match="killed"):
        train(CONFIG, dataset, tiny_model, output, name="adapter-0001", on_progress=kill)
    events: list[dict[str, Any]] = []
    result = train(CONFIG, dataset, tiny_model, output, name="adapter-0001", on_progress=events.append)
    assert "resumed" in {event["event"] for event in events}
    assert verify(output) == result.manifest
    assert file_sha256(output / WEIGHTS) == file_sha256(tmp_path / "whole" / WEIGHTS)


def _workers() -> list[int]:
    """The children of this process that run the training worker."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return [int(pid) for pid in children if b"evolver.train_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_failing_process_gives_its_reason(tiny_model: Path, tmp_path: Path) -> None:
    _write(tmp_path, "train", [])
    _write(tmp_path, "valid", [])
    with pytest.raises(TrainError, match=r"\(data\): train.jsonl holds no lesson"):
        train(CONFIG, tmp_path, tiny_model, tmp_path / "adapter-0001", name="adapter-0001")
