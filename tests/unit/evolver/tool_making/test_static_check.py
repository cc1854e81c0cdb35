"""What a model's code is refused for before it costs a call."""

import pytest

from evolver.tool_making.drop_reason import ToolDropReason
from evolver.tool_making.static_check import LONGEST, problem

FIT = "def split_bill(total: float, people: int) -> float:\n    import math\n    return math.ceil(total / people)\n"


def judged(body: str, head: str = "def split_bill(total: float, people: int) -> float:") -> str | None:
    return problem(f"{head}\n    {body}\n", "split_bill", ["total", "people"])


def test_a_small_pure_function_is_fit() -> None:
    assert problem(FIT, "split_bill", ["total", "people"]) is None
    assert judged("return max(total / people, sum(n for n in range(people)))") is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return total / people\n\nopen('/etc/passwd')", "not_one_function"),
        ("import os\n    return total / people", "imports"),
        ("from random import random\n    return total / people", "imports"),
        ("from . import math\n    return total / people", "imports"),
        ("from datetime import now\n    return total / people", "imports"),
        ("import datetime\n    return datetime.date.today().year + total + people", "reads_the_clock"),
        ("return eval('total') + total / people", "needs_too_much"),
        ("return (total / people).__class__", "needs_too_much"),
        ("return __builtins__ and total / people", "needs_too_much"),
        ("return ''.join.getattr + total / people", "needs_too_much"),
        ("global x\n    return total / people", "needs_too_much"),
        ("yield total / people", "needs_too_much"),
        ("def inner(): return 1\n    return total / people", "needs_too_much"),
        ("class Inner: pass\n    return total / people", "needs_too_much"),
        ("return split_bill(total, people)", "calls_itself"),
        ("return total * 2", "ignores_a_parameter"),
        ("people = 2\n    return total", "ignores_a_parameter"),
        ("total / people", "returns_nothing"),
        ("return total /", "no_python"),
        ("return total / people \0", "no_python"),
        (f"return {'(' * 900}total / people{')' * 900}", "no_python"),
        (f"return total / people + {' + '.join('1' * 300)}", "too_long"),
        (f"return total / people  # {'x' * LONGEST}", "too_long"),
    ],
)
def test_what_cannot_be_one_is_refused(body: str, reason: str) -> None:
    assert judged(body) == f"code_{reason}"


@pytest.mark.parametrize(
    "head",
    [
        "def split_bill(total: float) -> float:",
        "def split_bill(total: float, people: int, *rest) -> float:",
        "def split_bill(total: float, people: int, **rest) -> float:",
        "def split_bill(total: float, persons: int) -> float:",
    ],
)
def test_the_parameters_are_those_of_the_definition(head: str) -> None:
    people = "people = 1\n    " if "people" not in head else ""
    assert judged(f"{people}return total / people", head) is ToolDropReason.CODE_OTHER_PARAMETERS


@pytest.mark.parametrize(
    "head",
    ["async def split_bill(total, people):", "@print\ndef split_bill(total, people):", "def other(total, people):"],
)
def test_it_is_a_plain_function_of_its_name(head: str) -> None:
    assert judged("return total / people", head) is ToolDropReason.CODE_NOT_ONE_FUNCTION
