"""The encoder beside its reference implementation in torch."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from toolkit.encoder import LONGEST, model_folder, shared_encoder

TEXTS = [
    "How far is it to Rome?",
    "",
    "na\u00efve caf\u00e9 \U0001f600 \u6771\u4eac",
    "Convert 26.2 miles to metres, please; then tell me the distance around a pond of radius 3.",
    "and so on " * 300,
]


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_vectors_are_those_of_the_reference_implementation() -> None:
    folder = str(model_folder())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    for text, vector in zip(TEXTS, shared_encoder().vectors(TEXTS), strict=True):
        tokens = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.no_grad():
            expected = model(**tokens).last_hidden_state[0].mean(dim=0)
        assert np.allclose(vector, (expected / expected.norm()).numpy(), atol=2e-6)
