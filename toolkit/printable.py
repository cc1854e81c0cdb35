"""Text from models, tools and clients, made safe to show."""

import re
import unicodedata

_MARKERS = re.compile(
    r"<(?=\s*/?\s*(?:tool_call|tool_response|tools|think|start_of_turn|end_of_turn|\||\uff5c)|/?(?:s|bos|eos)>|</?SYS>>)"
    r"|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
_KEPT_CONTROLS = frozenset("\n\t")


def neutral(text: str) -> str:
    """Return ``text`` without what could steer a terminal or imitate a chat template.

    Control, bidi and other invisible format characters and lone surrogates become U+FFFD; the first character of a
    template token (``<tool_call>``, ``<|im_start|>``, ``[INST]``) becomes a look-alike.
    """
    return _MARKERS.sub(lambda found: "\u2039" if found[0] == "<" else "\u27e6", printable(text))


def printable(text: str) -> str:
    """Return ``text`` without what could steer a terminal; such characters become U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd"
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in _KEPT_CONTROLS
        else char
        for char in text
    )
