"""Attacks 32 to 43: files and information."""

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.adversarial.conftest import Target
from toolkit.config import SandboxConfig
from toolkit.sandbox import Invocation
from toolkit.sandbox.opening import open_sandbox


@pytest.mark.parametrize("name", ["environ", "mem", "root", "cwd", "maps", "fd", "status", "exe"])
def test_32_process_information(target: Target, name: str) -> None:
    body = """
import os
seen = []
for process in ('self', '1', '2', 'thread-self'):
    path = f'/proc/{process}/{name}'
    try: seen.append(os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(10).hex())
    except FileNotFoundError: pass
return seen
"""
    assert target.attack(body, name=name).value == []


def test_33_the_hosts_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet-" * 3)
    (tmp_path / "secret.txt").write_text("tweet-" * 3)
    source = """
import ctypes, os
def look(path):
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    found = [dict(os.environ), libc.getenv(b'CANARY_SECRET')]
    found += [p for p in (path, '/home', '/etc/passwd', '/etc/hostname', '/etc/resolv.conf', '/var', '/mnt') if
        os.path.lexists(p)]
    found += os.listdir('/root') if os.path.isdir('/root') and os.access('/root', os.R_OK) else []
    return found
"""
    with open_sandbox(SandboxConfig(), check=False) as own:
        found = own.run(Invocation.of_source(source, "look", {"path": str(tmp_path / "secret.txt")})).value
        assert found[:2] == [{}, None]
        assert [name for name in found[2:] if name != ".pyenv"] == []
        host_side = Path(f"/proc/{own._idle[0]._process.pid}/environ").read_bytes()
        assert b"CANARY" not in host_side


def test_33_cloud_metadata(target: Target) -> None:
    body = "import urllib.request\nurllib.request.urlopen('http://169.254.169.254/latest/meta-data/', timeout=1)"
    assert target.attack(body).error_type == "URLError"


@pytest.mark.parametrize(
    "path",
    ["/proc/self/mountinfo", "/proc/mounts", "/proc/cmdline", "/proc/keys", "/proc/kallsyms", "/proc/cpuinfo", "/sys"],
)
def test_34_kernel_information(target: Target, path: str) -> None:
    assert target.attack("import os\nreturn os.path.lexists(path)", path=path).value is False


def test_35_leaked_descriptors(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    leaked = os.open(secret, os.O_RDWR)
    os.set_inheritable(leaked, True)
    source = """
import os
def look():
    kinds = {}
    for number in range(4096):
        try: kinds[number] = oct(os.fstat(number).st_mode)[:4]
        except OSError: pass
    return kinds
"""
    try:
        with open_sandbox(SandboxConfig(), check=False) as own:
            assert list(own.run(Invocation.of_source(source, "look", {})).value) == ["0", "1", "2", "3"]
    finally:
        os.close(leaked)


@pytest.mark.tools_only("a workspace")
def test_36_links_where_the_host_reads(target: Target, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host")
    folder = tmp_path / "work"
    body = """
import os
os.symlink(secret, '/workspace/soft')
os.symlink('/', '/workspace/root')
open('/workspace/real', 'w').write('mine')
os.link('/workspace/real', '/workspace/hard')
"""
    assert target.attack(body, workspace=folder, secret=str(secret)).ok
    left = {path.name: path for path in folder.iterdir() if path.name != ".lock"}
    assert sorted(left) == ["hard", "real"]
    assert all(stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1 for path in left.values())
    assert secret.read_text() == "host"


@pytest.mark.tools_only("a workspace")
def test_36_links_already_in_the_workspace_are_not_carried_in(target: Target, tmp_path: Path) -> None:
    (tmp_path / "soft").symlink_to("/etc/passwd")
    assert target.attack("import os\nreturn os.listdir('/workspace')", workspace=tmp_path).value == []


@pytest.mark.parametrize("link", ["/", "/usr/lib/python3", "/scratch/tmp"])
@pytest.mark.tools_only("a workspace")
def test_36_a_link_in_place_of_the_workspace(target: Target, tmp_path: Path, link: str) -> None:
    (tmp_path / "mine").write_text("kept")
    body = "import os\nos.rename('/scratch/workspace', '/scratch/other')\nos.symlink(link, '/scratch/workspace')"
    assert target.attack(body, workspace=tmp_path, link=link).ok
    assert [path.name for path in tmp_path.iterdir()] == [".lock"], "as if the call had removed its files"


@pytest.mark.tools_only("a workspace")
def test_36_a_folder_and_a_file_change_places(target: Target, tmp_path: Path) -> None:
    assert target.attack("import os\nos.mkdir('a')\nopen('a/b', 'w').write('1')", workspace=tmp_path).ok
    swap = "import os\nos.remove('a/b')\nos.rmdir('a')\nopen('a', 'w').write('2')"
    assert target.attack(swap, workspace=tmp_path).ok
    assert (tmp_path / "a").read_text() == "2"


@pytest.mark.parametrize("make", ["os.mkfifo('/workspace/x')", "os.mknod('/workspace/x', 0o020666, os.makedev(1, 3))"])
@pytest.mark.tools_only("a workspace")
def test_37_pipes_and_devices(target: Target, tmp_path: Path, make: str) -> None:
    result = target.attack(f"import os\n{make}", workspace=tmp_path)
    assert result.error_type == "PermissionError"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_38_writing_to_the_environment(target: Target) -> None:
    body = """
import os, site, sys, sysconfig
folders = [*sys.path, os.path.dirname(os.__file__), '/opt/package/toolkit/sandbox', '/usr/lib', '/etc']
done = []
for folder in folders:
    for name in ('sitecustomize.py', 'usercustomize.py', 'x.pth', '__pycache__/os.cpython-311.pyc', 'os.py'):
        for mode in ('w', 'a'):
            try: open(os.path.join(folder, name), mode).close(); done.append(folder + name)
            except OSError: pass
    try: os.rename(folder, folder + '.old'); done.append(folder)
    except OSError: pass
return done
"""
    assert target.attack(body).value == []


def test_39_a_module_swapped_between_check_and_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "swapped_tools.py"
    module.write_text("def say(): return 'checked'")
    monkeypatch.chdir(tmp_path)
    with open_sandbox(SandboxConfig(workers=1), ["swapped_tools"], check=False) as own:
        module.write_text("def say(): return 'swapped'")
        assert own.run(Invocation("swapped_tools", "say", {})).value == "checked"
        own._idle[0]._process.kill()
        own._idle[0]._process.wait()
        assert own.run(Invocation("swapped_tools", "say", {})).value == "checked", "a new worker runs the checked code"


@pytest.mark.tools_only("a workspace")
def test_40_other_runs_files(target: Target, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write = "import os\nopen('/workspace/mine', 'w').write('1')\nopen('/scratch/tmp/mine', 'w').write('1')"
    look = "import os\nreturn [n for top in ('/scratch', '/workspace', '/tmp') for _, _, n in os.walk(top) if n]"
    assert target.attack(write, workspace=first).ok
    assert target.attack(look, workspace=second).value == []
    assert target.attack(look).value == []


def test_40_two_calls_at_once_do_not_see_each_other(target: Target) -> None:
    body = """
import os, time
open(f'/scratch/tmp/{name}', 'w').close()
time.sleep(0.2)
return os.listdir('/scratch/tmp')
"""
    seen: dict[str, object] = {}
    threads = [
        threading.Thread(target=lambda name=name: seen.update({name: target.attack(body, name=name).value}))
        for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": ["a"], "b": ["b"]}


def test_41_memory_that_outlives_a_call(target: Target) -> None:
    body = """
found = [call(name) for name in ('shmget', 'semget', 'msgget')] + [call('mq_open', b'x', 0o102, 0o600, 0)]
try: open('/dev/shm/x', 'w'); found.append('written')
except OSError: pass
return found
"""
    assert target.attack(body, calls=True).value == ["EPERM"] * 4


def test_42_more_rights(target: Target) -> None:
    body = """
import os, resource
with open('/scratch/tmp/x', 'wb') as file: file.write(b'#!/usr/bin/env sh')
try: os.chmod('/scratch/tmp/x', 0o6777)
except OSError: pass
found = [call('setuid', 0), call('setxattr', b'/scratch/tmp/x', b'security.capability', bytes(20), 20, 0)]
for run in (os.execv, os.posix_spawn):
    try: run('/scratch/tmp/x', ['x'], *([{}] if run is os.posix_spawn else [])); found.append('ran')
    except OSError as error: found.append(errno.errorcode[error.errno])
try: resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6)); found.append('raised')
except (ValueError, OSError): found.append('limited')
return found
"""
    assert target.attack(body, calls=True).value == ["EPERM", "EPERM", "EPERM", "EPERM", "limited"]


@pytest.mark.parametrize(
    "call",
    ["chroot", "mount", "umount2", "pivot_root", "unshare", "setns", "fsopen", "open_tree", "open_by_handle_at"],
)
def test_43_leaving_the_root(target: Target, call: str) -> None:
    assert target.attack(f"return call('{call}')", calls=True).value == "EPERM"


def test_43_a_new_user_namespace_by_clone(target: Target) -> None:
    body = """
import errno
number = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]
result = libc.syscall(number, 0x10000000 | 17, 0, 0, 0, 0)
return errno.errorcode[ctypes.get_errno()] if result < 0 else 'succeeded'
"""
    assert target.attack(body, calls=True).value == "EPERM"
    body = body.replace("0x10000000 | 17", "0x10000000 | 0x10F00")
    assert target.attack(body, calls=True).value == "EPERM", "not as a thread either"
