"""Closed sets of words: stored by value, and told to people in docs/concepts.md."""

import json
import re
from pathlib import Path

import pytest

from agent.imports.record import ImportReason
from evolver.lessons.drop_reason import DropReason
from evolver.maintenance.export_lessons import VerifiedBy
from evolver.mining.no_lesson import NoLesson
from evolver.tool_making.drop_reason import ToolDropReason
from evolver.types import Explained, TraceKind

DOCS = Path(__file__).parents[3] / "docs"
SECTIONS = {
    ImportReason: "Why a turn is left out",
    TraceKind: "Kinds of traces",
    VerifiedBy: "How a lesson was verified",
    NoLesson: "Why a turn is no candidate",
    DropReason: "Why a trace is dropped",
    ToolDropReason: "Why a written tool is dropped",
}


def test_each_set_has_a_section() -> None:
    assert set(SECTIONS) == set(Explained.__subclasses__())


@pytest.mark.parametrize("words", SECTIONS)
def test_each_word_is_documented_in_its_sentence_and_no_other_is(words: type[Explained]) -> None:
    page = (DOCS / ("imports.md" if words is ImportReason else "concepts.md")).read_text(encoding="utf-8")
    section = page.partition(f"## {SECTIONS[words]}\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert documented == [(word.value, word.sentence) for word in words]


@pytest.mark.parametrize("word", [word for words in SECTIONS for word in words])
def test_each_has_one_sentence_and_is_stored_by_its_value(word: Explained) -> None:
    assert re.fullmatch(r"[A-Z][^.]*(\.\w+\][^.]*)?\.", word.sentence), word.sentence
    assert json.dumps(word) == f'"{word.value}"'
    assert type(word)(word.value) is word
