"""An adapter folder is published whole, and refused when anything in it is not as its manifest says."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.serving.adapter_folder import model_sha256
from evolver.adapter_files import (
    MANIFEST,
    PEFT_CONFIG,
    WEIGHTS,
    Manifest,
    Metrics,
    file_sha256,
    manifest_sha256,
    publish,
    verify,
)
from evolver.errors import AdapterInvalid


def _safetensors(shapes: dict[str, list[int]]) -> bytes:
    header, offset = {}, 0
    for name, (rows, columns) in shapes.items():
        size = 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


LORA = {"model.q_proj.lora_A.weight": [8, 4], "model.q_proj.lora_B.weight": [4, 8]}


def _draft(folder: Path, shapes: dict[str, list[int]] = LORA, **peft: object) -> Path:
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(_safetensors(shapes))
    (folder / PEFT_CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 8, **peft}))
    return folder


def _manifest(folder: Path, name: str = "adapter-0001", base: str = "b" * 64) -> Manifest:
    return Manifest(
        name=name,
        files={file: file_sha256(folder / file) for file in (WEIGHTS, PEFT_CONFIG)},
        base_model="tiny",
        base_sha256=base,
        template_sha256="t",
        dataset_sha256="d",
        hyper_parameters={"rank": 8},
        seed=0,
        metrics=Metrics(
            loss_first=2.0,
            loss_last=1.0,
            steps=1,
            lessons=1,
            epochs_done=1.0,
            tokens_computed=10,
            tokens_saved=0,
            target_tokens=3,
        ),
        wall_seconds=1.0,
        created_at=0.0,
        versions={},
    )


@pytest.fixture
def published(tmp_path: Path) -> Path:
    draft, target = _draft(tmp_path / "draft"), tmp_path / "adapter-0001"
    publish(draft, target, _manifest(draft))
    return target


def test_published_folder_verifies_and_the_draft_is_gone(published: Path) -> None:
    assert verify(published, base_sha256="b" * 64) == Manifest.model_validate_json((published / MANIFEST).read_text())
    assert sorted(entry.name for entry in published.parent.iterdir()) == ["adapter-0001"]
    assert manifest_sha256(published) == file_sha256(published / MANIFEST)


def test_an_adapter_is_never_replaced(published: Path, tmp_path: Path) -> None:
    draft = _draft(tmp_path / "second")
    before = manifest_sha256(published)
    with pytest.raises(AdapterInvalid, match="never replaced"):
        publish(draft, published, _manifest(draft))
    assert manifest_sha256(published) == before


def test_foreign_base_is_refused(published: Path) -> None:
    with pytest.raises(AdapterInvalid, match="another base model"):
        verify(published, base_sha256="c" * 64)


def _change(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def _rename_in_manifest(folder: Path) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    values["files"]["../outside.safetensors"] = values["files"].pop(WEIGHTS)
    (folder / MANIFEST).write_text(json.dumps(values))


def _link_weights(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / WEIGHTS).rename(elsewhere)
    (folder / WEIGHTS).symlink_to(elsewhere)


def _pickle_beside(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_change(WEIGHTS, lambda data: data[:-1] + b"\1"), "is not the file"),
        (_change(PEFT_CONFIG, lambda data: data + b" "), "is not the file"),
        (_change(MANIFEST, lambda data: data[:-5]), "manifest.json"),
        (_change(MANIFEST, lambda data: data.replace(b'"adapter-0001"', b'"../adapter"')), "use small letters"),
        (_change(MANIFEST, lambda data: data.replace(b'"seed"', b'"sead"')), "manifest.json"),
        (_rename_in_manifest, "nothing else"),
        (_link_weights, "no plain file"),
        (_pickle_beside, "foreign files: adapter_model.bin"),
        (lambda folder: (folder / WEIGHTS).unlink(), "missing or foreign files"),
        (lambda folder: (folder / MANIFEST).unlink(), "No such file"),
    ],
)
def test_a_harmed_folder_is_refused(published: Path, harm: Callable[[Path], None], reason: str) -> None:
    harm(published)
    with pytest.raises(AdapterInvalid, match=reason):
        verify(published)


@pytest.mark.parametrize(
    ("shapes", "peft", "reason"),
    [
        ({"model.embed_tokens.weight": [8, 4]}, {}, "no LoRA matrix"),
        ({"model.q_proj.lora_A.weight": [9, 4]}, {}, "no LoRA matrix of rank 8"),
        ({}, {}, "no safetensors file"),
        (LORA, {"modules_to_save": ["lm_head"]}, "no plain LoRA"),
        (LORA, {"peft_type": "IA3"}, "no plain LoRA"),
    ],
)
def test_what_vllm_cannot_serve_is_not_published(
    tmp_path: Path, shapes: dict[str, list[int]], peft: dict[str, object], reason: str
) -> None:
    draft = _draft(tmp_path / "draft", shapes, **peft)
    with pytest.raises(AdapterInvalid, match=reason):
        publish(draft, tmp_path / "adapter-0001", _manifest(draft))
    assert not (tmp_path / "adapter-0001").exists()


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    draft = _draft(tmp_path / "draft")
    (draft / WEIGHTS).write_bytes((draft / WEIGHTS).read_bytes()[:-3])
    with pytest.raises(AdapterInvalid, match="cut short"):
        publish(draft, tmp_path / "adapter-0001", _manifest(draft))


def test_model_hash_sees_configuration_and_weights_only(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = model_sha256(tmp_path)
    (tmp_path / "generation_config.json").write_text("{}")
    assert model_sha256(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert model_sha256(tmp_path) != first
