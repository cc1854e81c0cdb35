"""Each built-in tool: one known answer, and what it refuses."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import ToolkitConfig
from toolkit.sources import load_tools

ANSWERS: list[tuple[str, dict[str, Any], Any]] = [
    ("calculate", {"expression": "12 * (7 + 3) ^ 2 - 1,000"}, 200),
    ("calculate", {"expression": "7 / 4"}, 1.75),
    ("percentage_of", {"percent": 15, "value": 80}, 12),
    ("percentage_change", {"old_value": 80, "new_value": 100}, 25),
    ("square_root", {"value": 144}, 12),
    ("round_number", {"value": 3.14159, "decimals": 2}, 3.14),
    ("sum_numbers", {"numbers": [0.1, 0.2]}, 0.3),
    ("average", {"numbers": [1, 2, 6]}, 3),
    ("median", {"numbers": [9, 1, 4]}, 4),
    ("standard_deviation", {"numbers": [2, 4, 4, 4, 5, 5, 7, 9]}, 2.138089935),
    ("largest_number", {"numbers": [3, -7, 12.5]}, 12.5),
    ("is_prime", {"number": 97}, True),
    ("is_prime", {"number": 1}, False),
    ("prime_factors", {"number": 360}, [2, 2, 2, 3, 3, 5]),
    ("greatest_common_divisor", {"first": 48, "second": 36}, 12),
    ("least_common_multiple", {"first": 4, "second": 6}, 12),
    ("factorial", {"number": 6}, 720),
    ("fibonacci_number", {"position": 10}, 55),
    ("to_roman_numeral", {"number": 1994}, "MCMXCIV"),
    ("convert_number_base", {"digits": "ff", "from_base": 16, "to_base": 2}, "11111111"),
    ("day_of_week", {"date": "2024-03-01"}, "Friday"),
    ("day_of_week", {"date": "the 4th of July, 1976"}, "Sunday"),
    ("day_of_week", {"date": "Nov 11, 1918"}, "Monday"),
    ("days_between_dates", {"start_date": "2024-02-01", "end_date": "2024-03-01"}, 29),
    ("add_days_to_date", {"date": "2024-03-01", "days": -1}, "2024-02-29"),
    ("is_leap_year", {"year": 1900}, False),
    ("age_on_date", {"birth_date": "1990-05-17", "date": "2024-05-16"}, 33),
    ("convert_time_zone", {"time": "14:30", "from_city": "London", "to_city": "Tokyo"}, "23:30"),
    ("convert_time_zone", {"time": "9:05", "from_city": "Europe/Paris", "to_city": "new york"}, "03:05"),
    ("convert_time_zone", {"time": "2024-07-01 20:00", "from_city": "UTC", "to_city": "Mumbai"}, "2024-07-02 01:30"),
    ("convert_unit", {"value": 5, "from_unit": "miles", "to_unit": "km"}, 8.04672),
    ("convert_unit", {"value": 10, "from_unit": "Feet", "to_unit": "meters"}, 3.048),
    ("convert_unit", {"value": 36, "from_unit": "kilometers per hour", "to_unit": "m/s"}, 10),
    ("convert_unit", {"value": 2, "from_unit": "pounds", "to_unit": "ounces"}, 32),
    ("convert_unit", {"value": 1, "from_unit": "square miles", "to_unit": "acres"}, 640),
    ("convert_temperature", {"value": 212, "from_scale": "fahrenheit", "to_scale": "Celsius"}, 100),
    ("count_words", {"text": "the quick brown fox"}, 4),
    ("count_letter", {"text": "Mississippi", "letter": "S"}, 4),
    ("text_length", {"text": "a b"}, 3),
    ("reverse_text", {"text": "abc"}, "cba"),
    ("change_case", {"text": "hello world", "case": "title"}, "Hello World"),
    ("replace_text", {"text": "a cat", "old": "cat", "new": "dog"}, "a dog"),
    ("is_palindrome", {"text": "A man, a plan, a canal: Panama"}, True),
    ("sort_numbers", {"numbers": [3, 1.5, 2], "order": "descending"}, [3, 2, 1.5]),
    ("sort_words", {"words": ["pear", "Apple", "fig"]}, ["Apple", "fig", "pear"]),
    ("remove_duplicates", {"items": ["a", "b", "a"]}, ["a", "b"]),
    ("common_items", {"first_list": ["a", "b", "c"], "second_list": ["c", "a"]}, ["a", "c"]),
    ("get_json_field", {"json_text": '{"user": {"tags": ["x", "y"]}}', "field": "user.tags.1"}, "y"),
    ("circle_area", {"radius": 2}, 12.566371),
    ("circle_circumference", {"radius": 1}, 6.283185),
    ("rectangle_area", {"width": 3, "height": 4.5}, 13.5),
    ("triangle_area", {"base": 10, "height": 4}, 20),
    ("hypotenuse", {"first_leg": 3, "second_leg": 4}, 5),
    ("sphere_volume", {"radius": 3}, 113.097336),
    ("cylinder_volume", {"radius": 1, "height": 2}, 6.283185),
    ("encode_base64", {"text": "hello"}, "aGVsbG8="),
    ("decode_base64", {"encoded": "aGVsbG8="}, "hello"),
    ("hash_text", {"text": "abc", "algorithm": "sha1"}, "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("encode_url", {"text": "a b&c"}, "a%20b%26c"),
    ("to_morse_code", {"text": "SOS now"}, "... --- ... / -. --- .--"),
    ("hex_to_rgb", {"hex_color": "#ff8800"}, [255, 136, 0]),
    ("rgb_to_hex", {"red": 255, "green": 136, "blue": 0}, "#ff8800"),
    ("discounted_price", {"price": 80, "discount_percent": 25}, 60.0),
    ("add_sales_tax", {"price": 50, "tax_percent": 8}, 54.0),
    ("split_bill", {"total": 90, "people": 4, "tip_percent": 20}, 27.0),
    ("compound_interest", {"principal": 1000, "interest_percent": 5, "years": 10}, 1628.89),
    ("monthly_loan_payment", {"amount": 200000, "interest_percent": 6, "years": 30}, 1199.1),
    ("present_value", {"future_amount": 1000, "discount_rate": 0.05, "years": 2}, 907.03),
    ("salary_after_raise", {"salary": 3000, "raise_rate": 0.04}, 3120.0),
    ("expected_failures", {"items": 2000, "failure_rate": 0.03}, 60),
    ("investment_growth", {"amount": 1000, "growth_rate": 0.07, "years": 3}, 1225.04),
    ("investment_growth", {"amount": 1000, "growth_rate": 0.12, "years": 1, "compounds_per_year": 12}, 1126.83),
    ("sales_commission", {"sales": 8000, "commission_rate": 0.05, "base_pay": 200}, 600.0),
    ("value_after_depreciation", {"price": 20000, "depreciation_rate": 0.15, "years": 2}, 14450.0),
    ("weighted_average", {"values": [1, 2, 4], "weights": [2, 1, 1]}, 2),
    ("measure_spread", {"numbers": [2, 9, 4]}, 7),
    ("measure_spread", {"numbers": [1, 3], "measure": "variance"}, 2),
    ("measure_spread", {"numbers": [1, 3], "measure": "deviation", "whole_population": True}, 1),
    ("chance_at_least_once", {"probability": 0.1, "tries": 2}, 0.19),
    ("initials", {"name": "Ada King Lovelace"}, "AKL"),
    ("initials", {"name": "ada lovelace", "with_dots": True}, "A.L."),
    ("make_slug", {"title": "Ten Ways, to Win!"}, "ten-ways-to-win"),
    ("make_slug", {"title": "Ten Ways", "use_underscores": True}, "ten_ways"),
    ("list_letters", {"text": "b a"}, ["b", "a"]),
    ("list_letters", {"text": "b a", "keep_spaces": True, "sort_alphabetically": True}, [" ", "a", "b"]),
    ("write_greeting", {"name": "Ada"}, "Hi Ada,"),
    ("write_greeting", {"name": "Frau Noether", "language": "German", "formal": True}, "Guten Tag Frau Noether,"),
    ("count_items", {"items": ["a", "b", "A"]}, {"a": 1, "b": 1, "A": 1}),
    ("count_items", {"items": ["a", "b", "A"], "ignore_case": True}, {"a": 2, "b": 1}),
    ("join_words", {"words": ["a", "b"]}, "a, b"),
    ("join_words", {"words": ["a", "b"], "separator": "+", "reverse": True}, "b+a"),
    ("format_date", {"date": "2024-03-05"}, "5 March 2024"),
    ("format_date", {"date": "5 March 2024", "style": "short", "include_weekday": True}, "Tuesday, 05.03.2024"),
    ("count_working_days", {"start_date": "2024-03-01", "end_date": "2024-03-31"}, 21),
    ("count_working_days", {"start_date": "2024-03-02", "end_date": "2024-03-04", "include_saturdays": True}, 2),
    ("box_volume", {"length": 50, "width": 40, "height": 30}, 60000),
    ("box_volume", {"length": 50, "width": 40, "height": 30, "unit": "liters"}, 60),
    ("fuel_cost", {"distance": 300, "consumption": 6, "fuel_price": 1.8}, 32.4),
    ("fuel_cost", {"distance": 300, "consumption": 6, "fuel_price": 1.8, "round_trip": True}, 64.8),
    ("travel_time", {"distance": 200, "speed": 100, "break_minutes": 15}, 2.25),
    ("body_mass_index", {"weight": 80, "height": 2}, 20),
    ("body_mass_index", {"weight": 150, "height": 70, "units": "imperial"}, 21.52),
    ("scale_recipe", {"amounts": [100, 1.5], "servings": 4, "new_servings": 6}, [150, 2.25]),
    ("scale_recipe", {"amounts": [1.5, 3], "servings": 3, "new_servings": 6, "round_up": True}, [3.0, 6.0]),
    ("calories_burned", {"activity": "running", "minutes": 30}, 343),
    ("packing_list", {"activities": ["business"]}, ["7 shirts", "suit", "laptop", "charger"]),
    (
        "packing_list",
        {"activities": ["beach", "beach"], "days": 2, "with_baby": True},
        ["2 shirts", "swimsuit", "towel", "sunscreen", "12 diapers"],
    ),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("calculate", {"expression": "__import__('os')"}, "only numbers"),
    ("calculate", {"expression": "2 ** 99999"}, "power is too large"),
    ("calculate", {"expression": "(-8) ^ 0.5"}, "not real"),
    ("calculate", {"expression": "1 / 0"}, "division by zero"),
    ("calculate", {"expression": "two plus"}, "no arithmetic expression"),
    ("calculate", {"expression": "1" * 300}, "split it"),
    ("percentage_change", {"old_value": 0, "new_value": 1}, "old_value is 0"),
    ("square_root", {"value": -1}, "negative"),
    ("average", {"numbers": []}, "at least 1"),
    ("standard_deviation", {"numbers": [1]}, "at least 2"),
    ("prime_factors", {"number": 1}, "between 2"),
    ("factorial", {"number": 100000}, "between 0 and 200"),
    ("to_roman_numeral", {"number": 4000}, "between 1 and 3999"),
    ("convert_number_base", {"digits": "12", "from_base": 2, "to_base": 10}, "no number in base 2"),
    ("day_of_week", {"date": "March 1"}, "write for example 2024-03-01"),
    ("add_days_to_date", {"date": "2024-03-01", "days": 10**9}, "fewer days"),
    ("age_on_date", {"birth_date": "2024-03-01", "date": "2020-01-01"}, "swap"),
    ("convert_time_zone", {"time": "14:30", "from_city": "Atlantis", "to_city": "Tokyo"}, "no city"),
    ("convert_time_zone", {"time": "half two", "from_city": "Paris", "to_city": "Tokyo"}, "write 14:30"),
    ("current_time", {"city": "../../etc/passwd"}, "no city"),
    ("convert_unit", {"value": 1, "from_unit": "miles", "to_unit": "pounds"}, "two of one kind"),
    ("convert_unit", {"value": 1, "from_unit": "parsnips", "to_unit": "km"}, "unknown unit 'parsnips'"),
    ("convert_temperature", {"value": -300, "from_scale": "celsius", "to_scale": "kelvin"}, "absolute zero"),
    ("count_letter", {"text": "abc", "letter": "ab"}, "single character"),
    ("replace_text", {"text": "abc", "old": "", "new": "x"}, "say what to replace"),
    ("is_palindrome", {"text": "?!"}, "no letters"),
    ("get_json_field", {"json_text": "{", "field": "a"}, "no valid JSON"),
    ("get_json_field", {"json_text": '{"a": 1}', "field": "b"}, "there is: a"),
    ("circle_area", {"radius": 0}, "greater than 0"),
    ("decode_base64", {"encoded": "???"}, "no Base64"),
    ("to_morse_code", {"text": "a+b"}, "letters and digits"),
    ("hex_to_rgb", {"hex_color": "orange"}, "six hex digits"),
    ("rgb_to_hex", {"red": 256, "green": 0, "blue": 0}, "between 0 and 255"),
    ("discounted_price", {"price": 80, "discount_percent": 120}, "between 0 and 100"),
    ("split_bill", {"total": 90, "people": 0}, "1 or more"),
    ("present_value", {"future_amount": 1000, "discount_rate": 5, "years": 2}, "divide percent by 100"),
    ("investment_growth", {"amount": 1, "growth_rate": 0.1, "years": 1, "compounds_per_year": 0}, "between 1 and 366"),
    ("present_value", {"future_amount": 1, "discount_rate": 0.5, "years": 10**6}, "too large"),
    ("investment_growth", {"amount": 1, "growth_rate": 0.5, "years": 10**6}, "too large"),
    ("compound_interest", {"principal": 1, "interest_percent": 50, "years": 10**6}, "too large"),
    ("pick_random", {"items": [], "allow_repeats": True}, "items is empty"),
    ("salary_after_raise", {"salary": 3000, "raise_rate": 4}, "divide percent by 100"),
    ("expected_failures", {"items": 10, "failure_rate": 2}, "divide percent by 100"),
    ("expected_failures", {"items": -1, "failure_rate": 0.2}, "must not be negative"),
    ("sales_commission", {"sales": -1, "commission_rate": 0.1}, "must not be negative"),
    ("weighted_average", {"values": [1, 2], "weights": [1]}, "one weight for each value"),
    ("weighted_average", {"values": [1, 2], "weights": [0, 0]}, "not all of them 0"),
    ("measure_spread", {"numbers": [1]}, "at least 2"),
    ("chance_at_least_once", {"probability": 30, "tries": 2}, "divide percent by 100"),
    ("chance_at_least_once", {"probability": 0.3, "tries": 0}, "1 or more"),
    ("initials", {"name": "!"}, "give a name"),
    ("make_slug", {"title": "?"}, "give a title"),
    ("count_working_days", {"start_date": "2024-03-04", "end_date": "2024-03-01"}, "swap them"),
    ("box_volume", {"length": 0, "width": 1, "height": 1}, "length must be greater than 0"),
    ("random_password", {"length": 1}, "between 4 and 200"),
    ("pick_random", {"items": ["a"], "count": 2}, "no more than there are items"),
    ("fuel_cost", {"distance": 0, "consumption": 6, "fuel_price": 1}, "distance must be greater than 0"),
    ("packing_list", {"activities": ["beach"], "days": 0}, "between 1 and 365"),
    ("travel_time", {"distance": 1, "speed": 1, "break_minutes": -1}, "must not be negative"),
    ("roll_dice", {"sides": 1, "count": 1}, "between 2"),
]


def _call(name: str, arguments: dict[str, Any]) -> Any:
    found = load_tools(ToolkitConfig()).get(name)
    assert found is not None
    return getattr(importlib.import_module(found.module), found.function)(**arguments)


@pytest.mark.parametrize(("name", "arguments", "answer"), ANSWERS)
def test_answers(name: str, arguments: dict[str, Any], answer: Any) -> None:
    found = _call(name, arguments)
    assert found == answer
    assert type(found) is type(answer)


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_refusals_tell_the_fix(name: str, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(ValueError, match=message):
        _call(name, arguments)


def test_every_tool_is_tested() -> None:
    tested = {name for name, *_ in ANSWERS} | {"current_time", "roll_dice", "random_password", "pick_random"}
    folder = Path(__file__).with_name("families")
    families = {f"toolkit.builtin.{file.stem}" for file in folder.glob("*.py")}
    assert {tool.name for tool in load_tools(ToolkitConfig()) if tool.module not in families} == tested


def test_passwords() -> None:
    plain, lower, with_symbols = (
        _call("random_password", {"length": 200, **more})
        for more in ({}, {"only_lowercase": True}, {"include_symbols": True})
    )
    assert len(plain) == len(lower) == 200
    assert plain.isalnum()
    assert lower == lower.lower()
    assert not with_symbols.isalnum()


def test_picking_at_random() -> None:
    items = ["a", "b", "c"]
    assert sorted(_call("pick_random", {"items": items, "count": 3})) == items
    assert len(_call("pick_random", {"items": items, "count": 9, "allow_repeats": True})) == 9


def test_chance_and_the_clock() -> None:
    rolled = _call("roll_dice", {"sides": 6, "count": 50})
    assert len(rolled) == 50
    assert set(rolled) <= set(range(1, 7))
    assert len(_call("current_time", {"city": "Paris"})) == len("2024-03-01 14:30")
