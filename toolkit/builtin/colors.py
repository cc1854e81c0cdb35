"""Colours."""

import re

from toolkit.declare import tool


@tool(effect="pure")
def hex_to_rgb(hex_color: str) -> list[int]:
    """Convert a hex colour code to its red, green and blue values.

    Args:
        hex_color: The colour code, for example #ff8800.
    """
    code = hex_color.strip().lstrip("#")
    if re.fullmatch(r"[0-9a-fA-F]{3}", code):
        code = "".join(char * 2 for char in code)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", code):
        raise ValueError(f"{hex_color!r} is no colour code; write six hex digits, for example #ff8800")
    return [int(code[index : index + 2], 16) for index in (0, 2, 4)]


@tool(effect="pure")
def rgb_to_hex(red: int, green: int, blue: int) -> str:
    """Convert red, green and blue values to a hex colour code.

    Args:
        red: Red, 0 to 255.
        green: Green, 0 to 255.
        blue: Blue, 0 to 255.
    """
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError("red, green and blue must be between 0 and 255")
    return f"#{red:02x}{green:02x}{blue:02x}"
