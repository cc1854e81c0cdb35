"""One table of stages: docs name the same ones in the same order."""

import re
from pathlib import Path

from evolver.cycle.stages import STAGES

ROOT = Path(__file__).parents[4]


def test_the_docs_have_the_same_stages_in_the_same_order() -> None:
    page = (ROOT / "docs/evolution.md").read_text(encoding="utf-8")
    table = page.partition("| stage | input | output |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [stage.name for stage in STAGES]


def test_each_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert all(re.fullmatch(r"[A-Z].*\.", stage.sentence) for stage in STAGES)
