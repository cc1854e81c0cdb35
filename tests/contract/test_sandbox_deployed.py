"""The sandbox's namespaces under what deploy/ takes away from the service, and under what it must not take away."""

import os
import shutil
import subprocess

import pytest

from toolkit.sandbox.isolation import bwrap_command

NOBODY = "65534"
INSIDE = [
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dir", "/dev", "/usr/bin/true"),
]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a worker, run by a user without rights, without capabilities and new privileges."""
    if shutil.which("setpriv") is None:
        pytest.skip("not checked: there is no setpriv here")
    rights = ["--no-new-privs"]
    if os.geteuid() == 0:
        rights += ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    monkeypatch.setattr(os, "geteuid", lambda: int(NOBODY))
    return ["setpriv", *rights, *bwrap_command(), *INSIDE]


def test_it_needs_no_capability_and_no_new_privileges(service: list[str]) -> None:
    done = subprocess.run(service, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "cover",
    ["mount --bind /dev/null /proc/kmsg", "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"],
    ids=["ProtectKernelLogs", "ProtectKernelTunables"],
)
def test_it_does_not_start_where_parts_of_proc_are_covered(service: list[str], cover: str) -> None:
    shell = ["unshare", "--mount", "sh", "-c"]
    if subprocess.run([*shell, cover], capture_output=True, check=False).returncode:
        pytest.skip("not checked: mounts are not allowed here")
    done = subprocess.run(
        [*shell, f'{cover} && exec "$@"', "sh", *service], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "mount proc" in done.stderr
