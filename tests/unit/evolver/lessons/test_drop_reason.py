"""The reasons for which a trace is dropped: errors of calls are among them, and no stage has others."""

import re
from pathlib import Path

import pytest

from evolver.lessons.drop_reason import DropReason
from toolkit.tool import ToolErrorKind

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("kind", ToolErrorKind)
def test_every_error_of_a_call_is_one(kind: ToolErrorKind) -> None:
    assert DropReason.of_error(kind).value == f"call_{kind.value}"


def test_no_stage_writes_a_reason_of_its_own() -> None:
    values = {reason.value for reason in DropReason}
    for room in ("generation", "verification", "augmentation", "dataset", "lessons"):
        for file in (ROOT / "evolver" / room).glob("*.py"):
            if file.name != "drop_reason.py":
                literals = set(re.findall(r'(?:return |else |or |\[)"(\w+)"', file.read_text(encoding="utf-8")))
                assert not literals & values, file
