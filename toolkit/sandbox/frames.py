"""Length-prefixed frames of strict JSON between the host and a worker. Standard library only."""

import json
import math
import os
import struct
from typing import Any, NoReturn

HEADER = struct.Struct(">I")
REQUEST_LIMIT = 256 << 20
"""Largest request frame in bytes: the workspace goes along in it."""
MAX_DEPTH = 64


class BadFrame(ValueError):
    """Cut, too long, no strict JSON, or nested too deep."""


def write_frame(descriptor: int, content: bytes) -> None:
    """Write one frame. Raises OSError when the other side is gone."""
    view = memoryview(HEADER.pack(len(content)) + content)
    while view:
        view = view[os.write(descriptor, view) :]


def read_frame(descriptor: int, limit: int) -> bytes | None:
    """Read one frame of at most ``limit`` bytes; None at a clean end. Raises BadFrame for a cut or longer one."""
    header = _read_exactly(descriptor, HEADER.size)
    if header is None:
        return None
    (length,) = HEADER.unpack(header)
    if length > limit:
        raise BadFrame(f"a frame of {length} bytes, {limit} are allowed")
    content = _read_exactly(descriptor, length) if length else b""
    if content is None:
        raise BadFrame("a cut frame")
    return content


def _read_exactly(descriptor: int, length: int) -> bytes | None:
    parts: list[bytes] = []
    missing = length
    while missing:
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            if parts:
                raise BadFrame("a cut frame")
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def parse_strict(content: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """JSON without NaN, duplicate keys, invalid UTF-8, lone surrogates, or deep nesting. Raises BadFrame."""
    if _depth(content) > max_depth:
        raise BadFrame(f"nested deeper than {max_depth}")
    try:
        text = content.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except BadFrame:
        raise
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"no strict JSON: {error}") from None
    return value


def _depth(content: bytes) -> int:
    """Upper bound of the nesting: brackets inside strings are counted away, escapes respected."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    quoted = escaped = False
    for byte in content:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _no_constant(name: str) -> NoReturn:
    raise BadFrame(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadFrame(f"{text[:20]} is too large a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadFrame("an object with the same key twice")
    return found
