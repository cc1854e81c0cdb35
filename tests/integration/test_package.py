"""The wheel, in an environment that knows nothing of the repository: complete, and its three commands run.

The environment is empty but for the wheel; what the wheel depends on is looked up in the environment of the tests, so
nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("toolkit", "agent", "evolver")
PACKAGES = (*COMMANDS, "dashboard")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Return the stdout of ``command``, which must succeed, run without the variables that steer Python and pip."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
    ran = subprocess.run(command, cwd=cwd, env=kept | env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves files in the folder that it builds in, and takes in old ones."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", ".", cwd=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    run(*PIP, "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, but .pth files found there are not read: an editable install stays unseen.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder / "bin"


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        found = {name for name in opened.namelist() if ".dist-info/" not in name}
    files = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert found == {path.as_posix() for path in files if "__pycache__" not in path.parts}
    endings = (".py", ".jinja", ".json", ".jsonl", ".html", ".js", ".css", ".svg", ".txt", ".toml", ".onnx", ".sql")
    assert {Path(name).suffix for name in found} == set(endings)


def test_the_packages_are_those_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep='\\n')"
    for found in run(installed / "python", "-c", code, cwd=tmp_path).splitlines():
        assert Path(found).is_relative_to(installed.parent), found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_shows_its_help(installed: Path, tmp_path: Path, command: str) -> None:
    assert f"Usage: {command} " in run(installed / command, "--help", cwd=tmp_path)


def test_tools_are_listed_and_called(installed: Path, tmp_path: Path) -> None:
    assert "least_common_multiple" in run(installed / "toolkit", "list", cwd=tmp_path)
    arguments = '{"first": 4, "second": 6}'
    assert run(installed / "toolkit", "call", "least_common_multiple", arguments, cwd=tmp_path).strip() == "12"


def test_a_new_folder_has_a_status(installed: Path, tmp_path: Path) -> None:
    assert "base" in run(installed / "evolver", "status", cwd=tmp_path)
    assert (tmp_path / "data" / "evolution.db").exists()
