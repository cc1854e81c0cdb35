"""Lists and JSON."""

import json
from typing import Any, Literal

from toolkit.builtin.rounding import neat
from toolkit.declare import tool


@tool(effect="pure")
def sort_numbers(numbers: list[float], order: Literal["ascending", "descending"] = "ascending") -> list[float]:
    """Sort a list of numbers.

    Args:
        numbers: The numbers.
        order: ascending (smallest first) or descending.
    """
    return [neat(number) for number in sorted(numbers, reverse=order == "descending")]


@tool(effect="pure")
def sort_words(words: list[str]) -> list[str]:
    """Sort a list of words alphabetically.

    Args:
        words: The words.
    """
    return sorted(words, key=lambda word: (word.lower(), word))


@tool(effect="pure")
def remove_duplicates(items: list[str]) -> list[str]:
    """Remove repeated entries from a list, keeping the first of each.

    Args:
        items: The entries.
    """
    return list(dict.fromkeys(items))


@tool(effect="pure")
def common_items(first_list: list[str], second_list: list[str]) -> list[str]:
    """Find the entries that two lists share.

    Args:
        first_list: One list.
        second_list: The other list.
    """
    return [item for item in dict.fromkeys(first_list) if item in set(second_list)]


@tool(effect="pure")
def count_items(items: list[str], ignore_case: bool = False) -> dict[str, int]:
    """Count how often each entry stands in a list.

    Args:
        items: The entries.
        ignore_case: Whether capital and small letters count as the same.
    """
    counted: dict[str, int] = {}
    for item in items:
        key = item.lower() if ignore_case else item
        counted[key] = counted.get(key, 0) + 1
    return counted


@tool(effect="pure")
def join_words(words: list[str], separator: str = ", ", reverse: bool = False) -> str:
    """Join words into one text.

    Args:
        words: The words.
        separator: What stands between two words.
        reverse: Whether to begin with the last word.
    """
    return separator.join(words[::-1] if reverse else words)


@tool(effect="pure")
def get_json_field(json_text: str, field: str) -> Any:
    """Get the value of a field from JSON text.

    Args:
        json_text: The JSON text.
        field: The field's name; use dots for nested fields, for example user.name.
    """
    try:
        value: Any = json.loads(json_text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"json_text is no valid JSON ({error}); correct it") from None
    for part in field.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            there = ", ".join(map(str, list(value)[:10])) if isinstance(value, dict) else f"a {type(value).__name__}"
            raise ValueError(f"there is no field {part!r}; there is: {there}")
    return value
