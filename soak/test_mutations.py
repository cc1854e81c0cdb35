"""One flush, or the transactions, taken out of the code: the named test must fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soak.mutations import FOLDER, MATRIX, MUTATIONS, ORDER, POINTER, Mutation

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(1800)


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--show-capture=no", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_to(folder: Path) -> None:
    for part in ("agent", "evolver", "toolkit", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def test_the_tests_pass_in_a_copy_as_it_is(tmp_path: Path) -> None:
    """Without this, a copy that cannot run at all would look like a mutation that was caught."""
    copy_to(tmp_path)
    ran = run(tmp_path, ORDER, MATRIX, POINTER, FOLDER)
    assert ran.returncode == 0, ran.stdout[-2000:]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_it_a_test_fails(tmp_path: Path, mutation: Mutation) -> None:
    copy_to(tmp_path)
    mutation.apply(tmp_path)
    ran = run(tmp_path, mutation.test)
    assert ran.returncode == 1, ran.stdout[-2000:]
