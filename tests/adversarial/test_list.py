"""The list in docs/sandbox.md and the tests agree: no attack is without a row, none without a test."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
LIST = FOLDER.parents[1] / "docs" / "sandbox.md"
NUMBERS = set(range(1, 71))


def test_every_attack_is_listed() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \|$", LIST.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(NUMBERS)


def test_every_attack_is_tested() -> None:
    tested: set[int] = set()
    for file in FOLDER.glob("test_*.py"):
        for numbers in re.findall(r"^def test((?:_\d\d)+)_", file.read_text(encoding="utf-8"), re.MULTILINE):
            tested |= {int(number) for number in numbers.strip("_").split("_")}
    assert tested == NUMBERS


def test_no_attack_is_skipped() -> None:
    for file in FOLDER.glob("test_*.py"):
        if file != Path(__file__):
            assert not re.search(r"pytest\.(skip|xfail|mark\.(skip|xfail))", file.read_text(encoding="utf-8")), file
