import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit.config import ToolkitConfig
from toolkit.search import ToolIndex, clauses_of
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
    assert name in [tool.name for tool in index.top(request_text, 8)]


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


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ('pull the colour out of {"item": "lamp", "price": 39.5, "currency": "EUR"}', "get_json_field"),
        ('In "my friends in Berlin meet on Monday morning" replace morning by evening', "replace_text"),
    ],
)
def test_values_that_a_request_quotes_do_not_lead_away(index: ToolIndex, request_text: str, name: str) -> None:
    assert name in [tool.name for tool in index.top(request_text, 3)]


def test_the_vectors_of_tools_are_kept_for_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "data" / "vectors.npy"
    code = (
        "import sys; from pathlib import Path; from tests.fakes import shop_tools; "
        "from toolkit.search import ToolIndex; "
        f"ToolIndex(shop_tools.registry(), vectors_file=Path({str(file)!r})); print('tokenizers' in sys.modules)"
    )
    ran = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [one.stdout.strip() for one in ran] == ["True", "False"]


def test_threads_that_search_at_once_find_what_one_finds(index: ToolIndex) -> None:
    queries = [f"convert {n} miles and reverse the words of text number {n}" for n in range(40)]
    fresh = ToolIndex(load_tools(ToolkitConfig()))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda query: fresh.top(query, 5), queries))
    assert together == [index.top(query, 5) for query in queries]


def test_tools_without_a_word_are_found_too() -> None:
    tools = [Tool(name=name, description="", parameters={}) for name in ("查天气", "do")]
    assert len(ToolIndex(tools).top("What does the weather do?", 2)) == 2


@pytest.mark.parametrize(
    ("request_text", "clauses"),
    [
        ("Add 2 and 3 to it. Then tell me the time?", ["Add 2", "3 to it.", "Then tell me the time?"]),
        ("book a table, and cancel the train, please", ["book a table", "cancel the train", "please"]),
        ('"book a table. Then cancel the train."', ["book a table.", "Then cancel the train."]),
        ('send "Come. And bring wine, please" to Ann', ['send "Come. And bring wine, please" to Ann']),
        ('  find {"a": 1, "b": 2}\nand [1, 2]  ', ['find {"a": 1, "b": 2}', "and [1, 2]"]),
        ('"', ['"']),
        ("  ", []),
    ],
)
def test_clauses_of_a_request(request_text: str, clauses: list[str]) -> None:
    assert [request_text[start:end] for start, end in clauses_of(request_text)] == clauses


def test_a_request_in_quotation_marks_is_no_value(index: ToolIndex) -> None:
    plain = "which words stand in both of these sentences"
    assert index.ranked(f'"{plain}"') == index.ranked(plain)
