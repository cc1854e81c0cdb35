"""The mutations of ``make soak`` still fit the code, so that a move is noticed here and not at the next soak."""

from pathlib import Path

import pytest

from soak.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutated_text_occurs_once(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert {code: text.count(code) for code, _ in mutation.edits} == {code: 1 for code, _ in mutation.edits}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_test_that_must_notice_it_is_there(mutation: Mutation) -> None:
    file, _, name = mutation.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")
