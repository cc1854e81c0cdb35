import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import StorageError
from agent.serving.socket_folder import ADMIN, NAME, VLLM, bound, socket_folder

_NOBODY = 65534


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that everybody on the machine may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"


def test_it_lies_in_the_data_folder_and_goes_with_the_server(data: Path) -> None:
    with socket_folder(data) as folder:
        assert folder == data / NAME
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []
        bound(folder / VLLM).close()
    assert not folder.exists()


def test_what_a_killed_server_left_is_in_nobodys_way(data: Path) -> None:
    (data / NAME).mkdir(parents=True, mode=0o755)
    bound(data / NAME / ADMIN).close()
    with socket_folder(data) as folder:
        assert list(folder.iterdir()) == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_cannot_connect(data: Path) -> None:
    with socket_folder(data) as folder, bound(folder / VLLM) as listening:
        listening.listen()
        (folder / VLLM).chmod(0o777)
        assert _connects(folder / VLLM, user=0)
        assert not _connects(folder / VLLM, user=_NOBODY)


def _connects(path: Path, *, user: int) -> bool:
    """Whether a process of ``user`` can connect to the socket."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(user)
            socket.socket(socket.AF_UNIX).connect(str(path))
        except PermissionError:
            os._exit(1)
        else:
            os._exit(0)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status < 2
    return status == 0


@pytest.mark.parametrize("deep", ["d" * 50, "d" * 120])
def test_where_the_path_would_be_too_long_it_lies_elsewhere(data: Path, deep: str) -> None:
    """The names of vLLM's own sockets must fit as well."""
    with socket_folder(data / deep) as folder:
        assert folder.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        bound(folder / ("-" * 36)).close()
    assert not folder.exists()
    assert not (data / deep / NAME).exists()


def test_where_no_socket_can_lie_anywhere_it_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = data / ("d" * 120)
    long.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(StorageError, match=r"^no Unix socket can be made .*; choose a data folder with a shorter path"):
        socket_folder(long).__enter__()
    assert list(long.iterdir()) == []


def test_a_relative_data_folder_is_named_from_the_root(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir()
    monkeypatch.chdir(data)
    with socket_folder(Path("data")) as folder:
        assert folder == data / "data" / NAME


def test_bound_closes_what_it_cannot_bind(data: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        bound(data / "missing" / "s")
    with pytest.raises(OSError, match="too long"):
        bound(data / ("d" * 200))
