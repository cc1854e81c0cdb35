"""Root, an ordinary user, a user whose namespaces are forbidden: each a process of its own, in real namespaces."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.sandbox.isolation import NAMESPACES_ADVICE, refused, user_inside

ROOT = Path(__file__).parents[2]
CHECK = ["-m", "toolkit.cli", "check", "--json"]
UNPRIVILEGED = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"]
NOBODY = 65534


def _run(*command: str, python: str = sys.executable, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{path}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, python, *CHECK], env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=200
    )


def _held(ended: subprocess.CompletedProcess[str]) -> int:
    assert ended.returncode == 0, ended.stderr
    findings = json.loads(ended.stdout)["attempts"]
    assert [each for each in findings if not each["held"]] == []
    return len(findings)


def _in_namespace(*, user: bool, allowed: int) -> subprocess.CompletedProcess[str]:
    """As an ordinary user (or as a root without other uids), where so many user namespaces may be made."""
    who = ["--map-user=1000", "--map-group=1000", "--keep-caps"] if user else ["--map-root-user"]
    script = f'echo {allowed} > /proc/sys/user/max_user_namespaces && exec {" ".join(UNPRIVILEGED)} "$@"'
    return _run("unshare", "--user", *who, "sh", "-c", script, "sh")


def test_whoever_runs_the_tests() -> None:
    assert _held(_run()) >= 15


@pytest.mark.parametrize("user", [True, False])
def test_an_ordinary_user_and_a_root_without_other_uids(user: bool) -> None:
    assert _held(_in_namespace(user=user, allowed=100)) >= 15


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a weaker one")
def test_a_root_that_may_not_make_namespaces() -> None:
    """As in a container whose filter of system calls lets user namespaces through."""
    assert _held(_run("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")) >= 15


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_nobody() -> None:
    """With a Python that nobody may read; the one that runs the tests may lie in root's home."""
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    installed = next(path for path in sys.path if path.endswith("site-packages"))
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    readable = subprocess.run([*become, python, "-c", f"import os; os.listdir({installed!r})"], check=False)
    if readable.returncode != 0:
        pytest.skip(f"nobody may read no Python {python} or no {installed}")
    assert _held(_run(*become, python=python, path=f":{installed}")) >= 15


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_namespaces_are_forbidden_the_fix_is_named(allowed: int) -> None:
    """0: bubblewrap gets none. 1: bubblewrap does, the call does not, as under Ubuntu's rules for bubblewrap."""
    ended = _in_namespace(user=True, allowed=allowed)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("toolkit: ")
    assert ended.stderr.endswith(f"; {NAMESPACES_ADVICE}\n")
    assert ended.stderr.count("\n") == 1
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in NAMESPACES_ADVICE


@pytest.mark.parametrize(
    "complaint",
    [
        "bwrap: setting up uid map: Permission denied",
        "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user "
        "namespaces. On e.g. debian this can be enabled with 'sysctl kernel.unprivileged_userns_clone=1'.",
        "bwrap: Creating new namespace failed: Operation not permitted",
        "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
        "a call cannot be isolated: [Errno 13] mount /scratch: Permission denied",
        "a call cannot be isolated: [Errno 28] unshare: No space left on device",
    ],
)
def test_what_kernels_say_is_understood(complaint: str) -> None:
    assert refused(complaint)


@pytest.mark.parametrize(
    "complaint",
    [
        "bwrap: execvp /usr/bin/python3: No such file or directory",
        "bwrap: execvp /opt/private/bin/python3: Permission denied",
        "bwrap: Can't find source path /opt/private/lib: Permission denied",
    ],
)
def test_other_failures_get_no_wrong_advice(complaint: str) -> None:
    assert not refused(complaint)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user becomes nobody else, whatever the map")
@pytest.mark.parametrize(
    ("uid_map", "capabilities", "user"),
    [
        ("         0          0 4294967295\n", "000001ffffffffff", 64321),
        ("0 1000 1\n1 100000 65536\n", "000001ffffffffff", 64321),
        ("0 1000 1\n", "000001ffffffffff", None),
        ("0 0 1000\n", "000001ffffffffff", None),
        ("         0          0 4294967295\n", "00000000a80425fb", None),
    ],
    ids=["root", "rootless", "alone", "few", "docker"],
)
def test_root_gives_up_root_where_it_can(tmp_path: Path, uid_map: str, capabilities: str, user: int | None) -> None:
    (tmp_path / "uid_map").write_text(uid_map)
    (tmp_path / "status").write_text(f"Name:\tx\nCapPrm:\t0\nCapEff:\t{capabilities}\nCapBnd:\t0\n")
    assert user_inside(tmp_path) == user
