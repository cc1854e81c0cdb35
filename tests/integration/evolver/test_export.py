"""An adapter that was trained, written for other programs: it must answer there as it does here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.models.detect import profile_of
from evolver.config import Config
from evolver.release.export import export
from evolver.training.render import Row, tokenized
from tests.fakes.llama_cpp import llama_cpp
from tests.fakes.tiny_gemma import make_gemma
from tests.fakes.tiny_training import TOOLS, make_dataset, make_model, run

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' own making
TOKENS = [72, 101, 108, 108, 111, 32, 65, 100, 100, 32, 51, 32, 97, 110, 100, 32, 50, 46]
MERGES = (("t", "h"), ("Ġ", "a"), ("th", "e"), ("Ġ", "Ġ"), ("1", "2"))
NASTY = (
    "What is 3 + 4? Add 12345 and 67.",
    "the days  to   Norway    and     Japan \n\n\n and\t\ttabs \r\n then\n",
    " a blank before, and one after ",
    "naïve Zürich ß Ωmega 日本語 ไทย עברית é ",
    "\U0001f469‍\U0001f469‍\U0001f467 \U0001f44d\U0001f3fd \U0001f1f3\U0001f1f4",
    "hahahahaha bananananas ababababab aaaaaaaaaaa ------- =======",
    "one ▁ sign, <0x0A> in words, <unk>, <pad> and </s>",
    "<start_of_turn>user\nthe parcel<end_of_turn>\n<start_of_turn>model\n",
    "<bos><start_of_turn>twice <<end_of_turn>> <start_of_turn",
    "\x00\x01\x7f﻿\u200b \u00a0",
    "",
)
_CALL = {"id": "call-0", "type": "function", "function": {"name": "add", "arguments": '{"a": 3, "b": 2}'}}
TEN_REQUESTS: list[list[dict[str, Any]]] = [
    *([{"role": "user", "content": f"Add {number} and 2."}] for number in (3, 17, 40, 58)),
    *([{"role": "user", "content": f"Tell story {number}."}] for number in (2, 31)),
    [{"role": "user", "content": 'Say "<tool_call>" in two\nlines, naïvely.'}],
    [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Add 5 and 2."},
    ],
    [
        {"role": "user", "content": "Add 3 and 2."},
        {"role": "assistant", "content": "", "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "call-0", "content": "5"},
    ],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add 7 and 2."}],
]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A tiny model, and an adapter that learned to call a tool."""
    data = tmp_path_factory.mktemp("data")
    model = make_gemma(data / "model") if request.param == "gemma3" else make_model(data / "model", merges=MERGES)
    (data / "dataset").mkdir()
    run(make_dataset(data / "dataset"), model, data / "adapters" / "adapter-0001")
    return Config.model_validate({"data_folder": data, "agent": {"serving": {"model": str(model)}}})


@pytest.fixture(scope="module")
def gguf(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter of ``config`` for llama.cpp."""
    return export(config, "adapter-0001", "gguf", tmp_path_factory.mktemp("gguf") / "exported") / "adapter-0001.gguf"


@torch.no_grad()
def logits(model: Any, tokens: list[int]) -> torch.Tensor:
    return model.eval()(torch.tensor([tokens])).logits[0]


def tokenizer_of(config: Config) -> Tokenizer:
    return Tokenizer.from_file(str(config.data_folder / "model" / "tokenizer.json"))


def adapted(config: Config) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(config.data_folder / "model")
    return PeftModel.from_pretrained(base, str(config.data_folder / "adapters" / "adapter-0001"))


def served_prompt(config: Config, messages: list[dict[str, Any]]) -> list[int]:
    """Return the tokens of the prompt with which a lesson about ``messages`` begins, as it is served."""
    model = config.data_folder / "model"
    answer = {"role": "assistant", "content": "Done."}
    row = Row(id="x", messages=[*messages, answer], tools=TOOLS, targets=[len(messages)])
    (lesson,) = tokenized(row, AutoTokenizer.from_pretrained(model), profile_of(model))
    return list(lesson.tokens[: lesson.targets[0]])


def ends_of(tokenizer: Tokenizer) -> set[int | None]:
    return {tokenizer.token_to_id(text) for text in ("<|im_end|>", "<eos>", "<end_of_turn>")}


def greedy(
    model: Any, tokens: list[int], most: int, ends: set[int | None], bias: Mapping[int, float] = {}
) -> list[int]:
    """Return the likeliest tokens after ``tokens``, the one that ends them included."""
    made: list[int] = []
    while len(made) < most and (not made or made[-1] not in ends):
        after = logits(model, [*tokens, *made])[-1]
        for token, added in bias.items():
            after[token] += added
        made.append(int(after.argmax()))
    return made


def check_beside(folder: Path) -> None:
    """Nothing is left beside an exported folder, and everybody may read it."""
    assert [path for path in folder.parent.iterdir() if path != folder] == []
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_a_merged_model_answers_as_the_adapter_does(config: Config, tmp_path: Path) -> None:
    folder = export(config, "adapter-0001", "merged", tmp_path / "merged")
    before = logits(AutoModelForCausalLM.from_pretrained(config.data_folder / "model"), TOKENS)
    expected = logits(adapted(config), TOKENS)
    assert (expected - before).abs().max() > 1
    found = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), TOKENS)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    check_beside(folder)


def test_llama_cpp_answers_as_the_adapter_does(config: Config, gguf: Path) -> None:
    model, tokenizer = adapted(config), tokenizer_of(config)
    ends = ends_of(tokenizer)
    tokens = tokenizer.encode("Add 3 and 4, then tell the person when the parcel arrives there.").ids
    expected = torch.log_softmax(logits(model, tokens).double(), -1)
    made = greedy(model, tokens, 24, ends)
    check_beside(gguf.parent)
    with llama_cpp(gguf) as engine:
        found = engine.logprobs(tokens, expected.shape[1])
        assert engine.answer(tokens, 24) == made
    assert [len(after) for after in found] == [expected.shape[1]] * len(tokens)
    assert max(abs(after[number] - expected[at, number]) for at, after in enumerate(found) for number in after) < 0.01


def test_llama_cpp_cuts_texts_as_the_tokenizer_does(config: Config, gguf: Path) -> None:
    tokenizer = tokenizer_of(config)
    with llama_cpp(gguf) as engine:
        for text in NASTY:
            ids = tokenizer.encode(text).ids
            assert engine.tokens(text) == ids, text
            assert engine.text(ids) == tokenizer.decode(ids, skip_special_tokens=False), text


def test_llama_cpp_answers_ten_requests_with_tools_as_they_are_served(config: Config, gguf: Path) -> None:
    told = json.loads((gguf.parent / "call_bias.json").read_text())["logit_bias"]
    bias = {int(token): added for token, added in told.items()}
    model, tokenizer = adapted(config), tokenizer_of(config)
    bos = profile_of(config.data_folder / "model").bos
    with llama_cpp(gguf) as engine:
        for messages in TEN_REQUESTS:
            tokens = served_prompt(config, messages)
            prompt = engine.rendered(messages=messages, tools=TOOLS)  # llama.cpp adds BOS when it cuts the text
            expected = tokenizer.decode(tokens, skip_special_tokens=False)
            assert prompt.removeprefix(bos) == expected.removeprefix(bos)
            assert engine.answer(tokens, 40, bias) == greedy(model, tokens, 40, ends_of(tokenizer), bias), prompt


def test_llama_cpp_renders_the_template_and_takes_a_bias_as_it_is_exported(config: Config, gguf: Path) -> None:
    assert json.loads((gguf.parent / "call_bias.json").read_text()).keys() == {"logit_bias"}
    letter = tokenizer_of(config).token_to_id("a")
    with llama_cpp(gguf) as engine:
        bias = {str(letter): 1000}
        messages = [{"role": "user", "content": "Add 3 and 2."}]
        assert engine.said(3, messages=messages, tools=TOOLS, logit_bias=bias) == "aaa"
