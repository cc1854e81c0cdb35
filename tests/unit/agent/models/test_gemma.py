"""Gemma 3 270M from its packages, as far as it goes without torch: what goes wrong leaves nothing."""

import sys
from pathlib import Path
from typing import Any

import pytest

from agent.models import default_model, packaged
from agent.models.packaged import GEMMA
from tests.fakes import gemma_package
from tests.fakes.gemma_package import write_package
from tests.fakes.model_folders import write_family
from toolkit.errors import UserError

GGUF = bytes(range(256)) * 5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of a person who has accepted the terms."""
    packaged.accept(GEMMA, tmp_path / "data")
    return tmp_path / "data"


def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and those that it starts find the packages in ``site`` first."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(site)
    for name in [name for name in sys.modules if name.startswith(gemma_package.NAME)]:
        monkeypatch.delitem(sys.modules, name)


def test_a_damaged_part_is_one_line_and_leaves_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(write_package(tmp_path / "site", GGUF, damaged=True), monkeypatch)
    told = "gemma-3-270m could not be prepared: ValueError: Assembled file sha256 did not match expected value; to see"
    with pytest.raises(UserError, match=told):
        default_model.resolve(GEMMA.name, data)
    assert list((data / "models").iterdir()) == []
    assert default_model.present(GEMMA.name, data) is None


@pytest.mark.parametrize(("family", "refused"), [("gemma-base", False), ("plain-base", True)])
def test_a_tokenizer_that_adds_no_bos_token_is_refused(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, family: str, refused: bool
) -> None:
    install(write_package(tmp_path / "site", GGUF), monkeypatch)

    def write(folder: Path, source: Path, gguf: str, **options: Any) -> None:
        """Stands for transformers."""
        assert (source / gguf).read_bytes() == GGUF
        assert options == {"bos": True}
        write_family(folder, family)

    monkeypatch.setattr(default_model, "_write", write)
    folder = data / "models" / GEMMA.folder
    if refused:
        with pytest.raises(UserError, match="adds no BOS token; install transformers"):
            default_model.write_folder(folder, default_model._write_gemma)
    else:
        default_model.write_folder(folder, default_model._write_gemma)
    assert default_model.is_complete(folder) is not refused
    assert list(folder.parent.iterdir()) == [] if refused else [folder]
