"""Encodings and hashes of text."""

import base64
import binascii
import hashlib
from typing import Literal
from urllib.parse import quote

from toolkit.declare import tool

_CODES = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.
"""
_MORSE = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789",
        _CODES.split(),
        strict=True,
    )
)


@tool(effect="pure")
def encode_base64(text: str) -> str:
    """Encode a text in Base64.

    Args:
        text: The text to encode.
    """
    return base64.b64encode(text.encode()).decode()


@tool(effect="pure")
def decode_base64(encoded: str) -> str:
    """Decode Base64 back to text.

    Args:
        encoded: The Base64 text.
    """
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError(f"{encoded!r} is no Base64 text; correct it") from None


@tool(effect="pure")
def hash_text(text: str, algorithm: Literal["md5", "sha1", "sha256", "sha512"]) -> str:
    """Compute the hash (checksum) of a text.

    Args:
        text: The text.
        algorithm: md5, sha1, sha256 or sha512.
    """
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


@tool(effect="pure")
def encode_url(text: str) -> str:
    """Percent-encode a text so that it can be used in a URL.

    Args:
        text: The text.
    """
    return quote(text, safe="")


@tool(effect="pure")
def to_morse_code(text: str) -> str:
    """Write a text in Morse code; words are separated by a slash.

    Args:
        text: Letters, digits and spaces.
    """
    words = []
    for word in text.lower().split():
        unknown = next((char for char in word if char not in _MORSE), None)
        if unknown is not None:
            raise ValueError(f"{unknown!r} has no Morse code here; use letters and digits only")
        words.append(" ".join(_MORSE[char] for char in word))
    return " / ".join(words)
