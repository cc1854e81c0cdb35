"""Length-prefixed frames of strict JSON between the host and a worker. Standard library only."""

import json
import math
import os
import select
import struct
import time
from typing import Any, NoReturn

HEADER = struct.Struct(">I")
_REQUEST_OVERHEAD = 16 << 20
MAX_DEPTH = 64
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
NEVER = math.inf


class Late(Exception):
    """The other side neither read nor wrote until the deadline."""


class BadFrame(ValueError):
    """Cut, too long, no strict JSON, or nested too deep."""


def request_limit(workspace_bytes: int) -> int:
    """Return the size of the largest request frame in bytes: the workspace goes along in it, in base64, beside source
    and arguments."""
    return _REQUEST_OVERHEAD + 2 * workspace_bytes


def write_frame(descriptor: int, content: bytes, deadline: float = NEVER) -> None:
    """Write one frame. Raises OSError when the other side is gone, Late when it does not read it all in time.

    ``deadline`` is in seconds of time.monotonic(); a descriptor that is to keep one must not block.
    """
    view = memoryview(HEADER.pack(len(content)) + content)
    while view:
        _wait(descriptor, select.POLLOUT, deadline)
        view = view[os.write(descriptor, view) :]


def read_frame(descriptor: int, limit: int, deadline: float = NEVER) -> bytes | None:
    """Read one frame of at most ``limit`` bytes; None at a clean end. Raises BadFrame for a cut or longer one, Late
    when it is not whole in time; ``deadline`` as in write_frame."""
    header = _read_exactly(descriptor, HEADER.size, deadline)
    if header is None:
        return None
    (length,) = HEADER.unpack(header)
    if length > limit:
        raise BadFrame(f"a frame of {length} bytes, {limit} are allowed")
    content = _read_exactly(descriptor, length, deadline) if length else b""
    if content is None:
        raise BadFrame("a cut frame")
    return content


def _read_exactly(descriptor: int, length: int, deadline: float) -> bytes | None:
    parts: list[bytes] = []
    missing = length
    while missing:
        _wait(descriptor, select.POLLIN, deadline)
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            if parts:
                raise BadFrame("a cut frame")
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    if deadline == NEVER:
        return
    left = deadline - time.monotonic()
    poller = select.poll()
    poller.register(descriptor, event)
    if left <= 0 or not poller.poll(left * 1000):
        raise Late


def parse_strict(content: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON without NaN, duplicate keys, invalid UTF-8, lone surrogates, or deep nesting. Raises BadFrame."""
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
    """Upper bound of the nesting: brackets inside strings are counted away, escapes respected. What is no JSON may be
    nested deeper than this says, after the place where it stops being JSON."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return 0
    without_escapes = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(without_escapes.split(b'"')[::2])
    depth = deepest = 0
    for byte in outside_strings.translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
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
