"""Learning against a rejected call: what the pairwise term does to the token where it parts from the right one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.models.detect import profile_of
from evolver.training.loss import pairwise
from evolver.training.prefix_tree import TokenizedLesson
from evolver.training.render import Row, RowInvalid, tokenized
from tests.fakes.tiny_training import make_dataset, make_model, row, run, write

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-model"))


def rejecting(number: int, *others: dict[str, Any], weight: float = 1.0) -> dict[str, Any]:
    """A row whose call is add(number, 2); ``others`` are the arguments of rejected calls."""
    made = row(number, calls=True)
    call = made["messages"][1]["tool_calls"][0]
    wrong = [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "add", "arguments": json.dumps(a)}}],
        }
        for a in others
    ]
    return {**made, "rejected": wrong, "rejected_weight": weight}


def lessons_of(model: Path, *rows: dict[str, Any]) -> list[TokenizedLesson]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    return [lesson for one in rows for lesson in tokenized(Row.model_validate(one), tokenizer, profile_of(model))]


def test_a_rejected_call_parts_at_its_first_other_token(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    (lesson,) = lessons_of(tiny_model, rejecting(41, {"a": 47, "b": 2}, {"a": 41, "b": 3}, weight=0.5))
    (at, seven, weight), (later, three, _) = lesson.rivals
    assert weight == 0.5
    assert tokenizer.decode([lesson.tokens[at], seven, lesson.tokens[later], three]) == "1723"
    assert lesson.targets[0] < at < later
    (plain,) = lessons_of(tiny_model, row(41, calls=True))
    assert (plain.tokens, plain.targets, plain.rivals) == (lesson.tokens, lesson.targets, ())


def test_the_same_call_is_no_rival(tiny_model: Path) -> None:
    assert lessons_of(tiny_model, rejecting(41, {"a": 41, "b": 2}))[0].rivals == ()


def test_silence_is_a_rival_of_a_call_from_its_first_token(tiny_model: Path) -> None:
    silent = {**row(41, calls=True), "rejected": [{"role": "assistant", "content": "No tool fits."}]}
    (lesson,) = lessons_of(tiny_model, silent)
    assert [at for at, _, _ in lesson.rivals] == [lesson.targets[0]]


def test_a_rejected_call_that_is_no_json_names_its_row(tiny_model: Path) -> None:
    broken = rejecting(41, {})
    broken["rejected"][0]["tool_calls"][0]["function"]["arguments"] = "{"
    with pytest.raises(RowInvalid, match="arguments of add are no JSON"):
        lessons_of(tiny_model, broken)


def test_the_gradient_of_a_pair_is_that_of_finite_differences() -> None:
    torch.manual_seed(3)
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    places = torch.tensor([0, 2, 2]), torch.tensor([1, 5, 5]), torch.tensor([3, 0, 6])
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    # ``pairwise`` computes in fp32: differences are taken of the same formula in fp64.
    whole = torch.log_softmax(logits, -1)
    exact = (torch.log1p(torch.exp(whole[places[0], places[2]] - whole[places[0], places[1]])) * weights).sum()
    (wanted,) = torch.autograd.grad(exact, logits)
    rough = logits.detach().float().requires_grad_()
    found = pairwise(rough, *places, weights.float())
    found.backward()
    torch.testing.assert_close(found.double(), exact)
    assert rough.grad is not None
    torch.testing.assert_close(rough.grad.double(), wanted, rtol=1e-5, atol=1e-6)
    assert rough.grad[0, 1] < 0 < rough.grad[0, 3], "down the gradient the right token rises, the rejected one falls"


def losses(model: Path, adapter: Path | None, lessons: list[TokenizedLesson]) -> tuple[float, float]:
    """Return the sums of -log p of the right and of the rejected tokens where they part."""
    adapted: Any = AutoModelForCausalLM.from_pretrained(model)
    if adapter:
        adapted = PeftModel.from_pretrained(adapted, str(adapter))
    right = wrong = 0.0
    for lesson in lessons:
        ((at, rejected, _),) = lesson.rivals
        with torch.no_grad():
            logits = adapted(input_ids=torch.tensor([lesson.tokens[:at]])).logits[0, -1].float()
        found = -torch.log_softmax(logits, -1)
        right, wrong = right + found[lesson.tokens[at]].item(), wrong + found[rejected].item()
    return right, wrong


def test_the_right_call_gets_likelier_and_the_rejected_one_less_likely(tiny_model: Path, tmp_path: Path) -> None:
    """The rows share their prefix; no row teaches what another one rejects."""
    pairs = [rejecting(41, {"a": 47, "b": 2}, weight=3.0), rejecting(42, {"a": 48, "b": 2}, weight=3.0)]
    lessons = lessons_of(tiny_model, *pairs)
    margins = []
    for name, rows in (("with", pairs), ("without", [row(n, calls=True) for n in (41, 42)])):
        dataset = tmp_path / f"data-{name}"
        dataset.mkdir()
        make_dataset(dataset)
        write(dataset, "train", rows)
        manifest = run(dataset, tiny_model, tmp_path / name, epochs=24, learning_rate=0.01)
        assert manifest.metrics.tokens_saved > 0
        right, wrong = losses(tiny_model, tmp_path / name, lessons)
        margins.append(wrong - right)
        if rows is pairs:
            before = losses(tiny_model, None, lessons)
            assert right < before[0] - 1
            assert wrong > before[1] + 1
    assert margins[0] > margins[1] + 1
