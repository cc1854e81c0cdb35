"""A user's own tools, for tests that need few."""

from toolkit.tool import tool


@tool(effect="pure")
def double_number(number: int) -> int:
    """Double a whole number.

    number: The number to double.
    """
    return 2 * number


@tool(effect="pure")
def shout_text(text: str) -> str:
    """Write a text in capital letters with an exclamation mark.

    text: The text to shout.
    """
    return text.upper() + "!"


@tool(effect="pure")
def add_minutes(hour: int, minutes: int) -> str:
    """Find the time some minutes after a full hour.

    hour: The full hour, 0 to 23.
    minutes: The minutes to add.
    """
    total = hour * 60 + minutes
    return f"{total // 60 % 24:02d}:{total % 60:02d}"
