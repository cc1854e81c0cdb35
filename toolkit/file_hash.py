"""The hash by which a file is known."""

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of the content of ``file``, in hexadecimal. Raises OSError."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
