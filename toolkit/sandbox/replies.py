"""Shapes of a worker's replies to the host: a users' module shares the worker's process and could write anything."""

import base64
import binascii
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from toolkit.frozen import Frozen
from toolkit.sandbox.frames import BadFrame, parse_strict


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no text")  # noqa: TRY004 - pydantic takes ValueError for a finding
    return base64.b64decode(text, validate=True)


def _is_base64(text: str) -> str:
    binascii.a2b_base64(text, strict_mode=True)
    return text


_Message = Annotated[str, Field(max_length=8192)]


class _Reply(Frozen):
    model_config = ConfigDict(strict=True)


class Ready(_Reply):
    """The server has imported its modules."""

    ready: Literal[True]


class ImportFailed(_Reply):
    """The module ``failed`` cannot be imported."""

    failed: _Message
    message: _Message


class Ended(_Reply):
    """A call has ended. ``claim`` is what it says of its result; ``files`` what it left, path -> base64, or None where
    nothing is carried out."""

    wait_status: Annotated[int, Field(ge=0, le=0xFFFF)]
    killed: Literal["", "claim", "deadline", "host"]
    claim: Annotated[bytes, BeforeValidator(_decoded)]
    stdout: str
    stderr: str
    files: dict[str, Annotated[str, AfterValidator(_is_base64)]] | None
    cpu_seconds: Annotated[float, Field(ge=0)]


class Unfit(_Reply):
    """The workspace that was sent does not fit."""

    unfit: _Message


class Broken(_Reply):
    """No call can be isolated."""

    broken: _Message


_R = TypeVar("_R")
_HELLO: TypeAdapter[Ready | ImportFailed] = TypeAdapter(Ready | ImportFailed)
_REPLY: TypeAdapter[Ended | Unfit | Broken] = TypeAdapter(Ended | Unfit | Broken)


def read_hello(content: bytes) -> Ready | ImportFailed:
    """Read the first frame of a worker. Raises BadFrame."""
    return _read(_HELLO, content)


def read_reply(content: bytes) -> Ended | Unfit | Broken:
    """Read the frame that answers a request. Raises BadFrame."""
    return _read(_REPLY, content)


def _read(shape: TypeAdapter[_R], content: bytes) -> _R:
    try:
        return shape.validate_python(parse_strict(content))
    except ValidationError:
        raise BadFrame("a frame of another shape") from None
