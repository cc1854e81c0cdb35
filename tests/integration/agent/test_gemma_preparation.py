"""Gemma 3 from packages, through transformers: a tiny one in place of the 270M."""

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.models import default_model, packaged
from agent.models.detect import profile_of
from agent.models.packaged import GEMMA
from evolver.release import gguf_file
from tests.fakes.gemma_package import write_package
from tests.fakes.tiny_gemma import make_gemma

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' own making
TEXTS = ("add three and two", "the parcel  takes\n\nnine days", "<start_of_turn>user\nZürich 日本<end_of_turn>\n")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model, of which a GGUF is in the packages that are found."""
    model = make_gemma(tmp_path / "tiny")
    gguf_file.write(model, profile_of(model), "tiny", tmp_path / "tiny.gguf")
    site = write_package(tmp_path / "site", (tmp_path / "tiny.gguf").read_bytes())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(site)
    return model


def test_a_gemma_is_put_together_and_begins_each_text_with_its_bos_token(source: Path, tmp_path: Path) -> None:
    data, steps = tmp_path / "data", []
    packaged.accept(GEMMA, data)
    folder = default_model.prepare(data, lambda step, _: steps.append(step), GEMMA)
    assert steps[-1] == "ready"
    assert [path.name for path in folder.parent.iterdir()] == [GEMMA.folder]
    assert default_model.is_complete(folder)
    profile = profile_of(folder)
    assert (profile.bos, profile.adds_bos, profile.end_of_turn) == ("<bos>", True, "<end_of_turn>")
    found, expected = (AutoTokenizer.from_pretrained(place) for place in (folder, source))
    for text in TEXTS:
        ids = found(text)["input_ids"]
        assert ids[0] == found.bos_token_id
        assert ids == expected(text)["input_ids"], text
    made = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    weights = AutoModelForCausalLM.from_pretrained(source).state_dict()
    assert made.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(made[name].float(), tensor.float(), atol=2**-7, rtol=2**-8, msg=name)
