import subprocess
import sys

import pytest

from toolkit.config import ToolkitConfig
from toolkit.search import ToolIndex
from toolkit.sources import load_tools
from toolkit.tool import Tool


@pytest.fixture(scope="module")
def index() -> ToolIndex:
    return ToolIndex(load_tools(ToolkitConfig()))


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ("What day of the week was 2024-03-01?", "day_of_week"),
        ("Convert 5 miles to kilometers", "convert_unit"),
        ("How many words are in 'the quick brown fox'?", "count_words"),
        ("Is 97 a prime number?", "is_prime"),
        ("What is the area of a circle with radius 4?", "circle_area"),
        ("Save a note titled groceries saying milk and eggs", "save_note"),
        ("What is the sha256 hash of hello?", "hash_text"),
        ("How much is a 20 percent discount on 80?", "discounted_price"),
        ("What is 15 percent of 240?", "percentage_of"),
        ("Give me the median of 3, 9 and 4", "median"),
        ("If it is 14:30 in London, what time is it in Tokyo?", "convert_time_zone"),
        ("Write 1994 as a roman numeral", "to_roman_numeral"),
        ("Reverse the text hello", "reverse_text"),
        ("How many days are there between 2024-01-01 and 2024-03-01?", "days_between_dates"),
        ("What is 100 degrees Fahrenheit in Celsius?", "convert_temperature"),
    ],
)
def test_the_fitting_tool_is_among_the_first_three(index: ToolIndex, request_text: str, name: str) -> None:
    assert name in [tool.name for tool in index.top(request_text, 3)]


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ("what do I owe on a 14 dollar lunch after 20% off", "discounted_price"),
        ("Turn 26.2 miles into metres", "convert_unit"),
        ("the distance around a pond of radius 3", "circle_circumference"),
        ("which weekday was 1999-12-31", "day_of_week"),
    ],
)
def test_a_request_in_other_words_finds_its_tool(index: ToolIndex, request_text: str, name: str) -> None:
    assert name in [tool.name for tool in index.top(request_text, 3)]


def test_k_tools_are_returned_whatever_the_query(index: ToolIndex) -> None:
    assert [len(index.top(query, 4)) for query in ("", "zzz", "prime number")] == [4, 4, 4]
    assert len(index.top("prime", 1000)) == len(index)
    assert index.top("", 3) == index.top("", 3)
    assert ToolIndex([]).top("prime", 3) == []


def test_parameter_descriptions_count() -> None:
    def made(name: str, field: str) -> Tool:
        parameters = {"type": "object", "properties": {"x": {"type": "string", "description": field}}}
        return Tool(name=name, description="Does it.", parameters=parameters)  # type: ignore[arg-type]

    index = ToolIndex([made("first", "The town."), made("second", "Sizes of gardens.")])
    assert [tool.name for tool in index.top("How big is the garden", 2)] == ["second", "first"]


def test_searching_leaves_logging_alone() -> None:
    code = (
        "import logging; from toolkit.meaning import vectors; vectors(['a']); root = logging.getLogger(); "
        "print(len(root.handlers), root.level == logging.WARNING)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "0 True"
