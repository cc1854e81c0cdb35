"""Isolation of the kernel's that other layers hide from the attacks: each alone, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.sandbox.kernel import landlock_version

HEAD = """
import ctypes, errno, json, os, sys
from toolkit.sandbox import kernel

libc = ctypes.CDLL(None, use_errno=True)

def tried(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""
RESTRICTED = """
inside, outside = sys.argv[1:]
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if "restrict" in os.path.basename(inside):
    kernel.restrict_files(writable=inside)
print(json.dumps({
    "write inside": tried(open, inside + "/a", "w"),
    "write outside": tried(open, outside + "/a", "w"),
    "change outside": tried(open, outside + "/there", "r+"),
    "read outside": tried(open, outside + "/there"),
    "remove outside": tried(os.remove, outside + "/there"),
    "folder outside": tried(os.mkdir, outside + "/folder"),
    "pipe inside": tried(os.mkfifo, inside + "/pipe"),
    "link out": tried(os.rename, inside + "/a", outside + "/b"),
    "device": tried(open, "/dev/null", "w"),
}))
"""
KEYS = """
SESSION = -3
number = kernel._KEYCTL[os.uname().machine]
add_key = {"x86_64": 248, "aarch64": 217}[os.uname().machine]

def found():
    return "done" if libc.syscall(number, 10, SESSION, b"user", b"apprentice-test", 0) > 0 else \\
        errno.errorcode[ctypes.get_errno()]

joined = libc.syscall(number, 1, None, 0, 0, 0)  # a keyring of the test's own, not the one of whoever runs it
added = libc.syscall(add_key, b"user", b"apprentice-test", b"secret", 6, SESSION)
seen = [errno.errorcode[ctypes.get_errno()] if min(joined, added) < 0 else "added", found()]
kernel.fresh_keyring()
print(json.dumps([*seen, found()]))
"""
REFUSED = """
answers = [getattr(errno, name) for name in sys.argv[1:]]

class Refusing:
    def syscall(self, *_):
        if not answers:
            return 4711
        ctypes.set_errno(answers.pop(0))
        return -1

kernel._libc = Refusing()
print(json.dumps([tried(kernel.fresh_keyring), len(answers)]))
"""


def _run(script: str, *arguments: str) -> Any:
    command = [sys.executable, "-c", HEAD + script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_landlock_alone_keeps_a_process_in_its_folder(tmp_path: Path) -> None:
    if landlock_version() == 0:
        pytest.skip("this kernel has no Landlock")
    found = {}
    for name in ("free", "restricted"):
        inside, outside = tmp_path / name, tmp_path / f"outside-{name}"
        inside.mkdir()
        outside.mkdir()
        (outside / "there").write_text("there")
        found[name] = _run(RESTRICTED, str(inside), str(outside))
    assert set(found["free"].values()) == {"done"}, "without it, nothing else forbids any of this"
    assert found["restricted"] == {
        "write inside": "done",
        "write outside": "EACCES",
        "change outside": "EACCES",
        "read outside": "done",
        "remove outside": "EACCES",
        "folder outside": "EACCES",
        "pipe inside": "EACCES",
        "link out": found["restricted"]["link out"],
        "device": "done",
    }
    assert found["restricted"]["link out"] in ("EACCES", "EXDEV")


def test_a_key_is_not_found_in_a_fresh_keyring() -> None:
    added, before, after = _run(KEYS)
    if added in ("ENOSYS", "EPERM"):
        pytest.skip("keys are not allowed here")
    assert (added, before, after) == ("added", "done", "ENOKEY")


@pytest.mark.parametrize(
    ("refusals", "outcome"),
    [
        ((), ["done", 0]),
        (("ENOSYS", "EPERM"), ["done", 1]),
        (("EDQUOT", "EDQUOT"), ["done", 0]),
        (("EPERM", "EPERM"), ["EPERM", 1]),
        (("EDQUOT", "EACCES", "EPERM"), ["EACCES", 1]),
    ],
)
def test_a_keyring_that_is_refused_is_no_fresh_one(refusals: tuple[str, ...], outcome: list[object]) -> None:
    """But where the kernel has none; where there are too many for a moment, it is asked again."""
    assert _run(REFUSED, *refusals) == outcome
