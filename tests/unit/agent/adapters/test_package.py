"""An adapter folder is published whole, and refused when anything in it is not as its manifest says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.adapters.manifest import Manifest
from agent.adapters.package import MANIFEST, PEFT_CONFIG, WEIGHTS, check_adapter, manifest_sha256, model_sha256, publish
from agent.errors import AdapterInvalid
from tests.fakes.evolution import LORA, adapter_draft, manifest_of
from toolkit.file_hash import file_sha256


@pytest.fixture
def published(tmp_path: Path) -> Path:
    draft, target = adapter_draft(tmp_path / "draft"), tmp_path / "adapter-0001"
    publish(draft, target, manifest_of(draft, "adapter-0001"))
    return target


def test_published_folder_verifies_and_the_draft_is_gone(published: Path) -> None:
    assert check_adapter(published, base_sha256="b" * 64) == Manifest.model_validate_json(
        (published / MANIFEST).read_text()
    )
    assert sorted(entry.name for entry in published.parent.iterdir()) == ["adapter-0001"]
    assert manifest_sha256(published) == file_sha256(published / MANIFEST)


def test_an_adapter_is_never_replaced(published: Path, tmp_path: Path) -> None:
    draft = adapter_draft(tmp_path / "second")
    before = manifest_sha256(published)
    with pytest.raises(AdapterInvalid, match="never replaced"):
        publish(draft, published, manifest_of(draft, "adapter-0001"))
    assert manifest_sha256(published) == before


def test_foreign_base_is_refused(published: Path) -> None:
    with pytest.raises(AdapterInvalid, match="another base model"):
        check_adapter(published, base_sha256="c" * 64)


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
        check_adapter(published)


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
    draft = adapter_draft(tmp_path / "draft", shapes, **peft)
    with pytest.raises(AdapterInvalid, match=reason):
        publish(draft, tmp_path / "adapter-0001", manifest_of(draft, "adapter-0001"))
    assert not (tmp_path / "adapter-0001").exists()


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    draft = adapter_draft(tmp_path / "draft")
    (draft / WEIGHTS).write_bytes((draft / WEIGHTS).read_bytes()[:-3])
    with pytest.raises(AdapterInvalid, match="cut short"):
        publish(draft, tmp_path / "adapter-0001", manifest_of(draft, "adapter-0001"))


def test_model_hash_sees_configuration_and_weights_only(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = model_sha256(tmp_path)
    (tmp_path / "generation_config.json").write_text("{}")
    assert model_sha256(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert model_sha256(tmp_path) != first
