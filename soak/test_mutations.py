"""One flush, or the transactions, taken out of the code: the named test must fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = "tests/integration/evolver/test_crashes.py::test_what_is_named_is_flushed_before"
MATRIX = "tests/integration/evolver/test_crashes.py::test_killed_at_each_step_in_turn_and_again_in_each_recovery[after]"
POINTER = "tests/integration/evolver/test_crashes.py::test_pointer_and_ledger_are_as_they_were_when_killed_between_them"
FILE, FOLDER = "os.fsync(file.fileno())", "os.fsync(folder)"
MUTATIONS = [
    ("agent/serving/active_adapter.py", FILE, "pass", ORDER),
    ("agent/serving/active_adapter.py", FOLDER, "pass", ORDER),
    ("evolver/markers.py", "flush(draft)", "pass", ORDER),
    ("evolver/markers.py", "flush(path.parent)", "pass", ORDER),
    ("evolver/jsonl.py", FILE, "pass", ORDER),
    ("evolver/dataset.py", FILE, "pass", ORDER),
    ("evolver/dataset.py", "flush(draft)", "pass", ORDER),
    ("evolver/adapter_files.py", "flush(draft / name)", "pass", ORDER),
    ("evolver/adapter_files.py", "    flush(draft)\n", "", ORDER),
    ("evolver/adapter_files.py", "flush(target.parent)", "pass", ORDER),
    ("agent/database.py", "self.raw.conn.execute(begin)", "self.raw.conn.isolation_level = None", MATRIX),
    ("evolver/release.py", "_record(pointer, pointer.change, ledger)", "pass", POINTER),
]
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
    ran = run(tmp_path, ORDER, MATRIX, POINTER)
    assert ran.returncode == 0, ran.stdout[-2000:]


@pytest.mark.parametrize(("file", "code", "instead", "test"), MUTATIONS)
def test_without_it_a_test_fails(tmp_path: Path, file: str, code: str, instead: str, test: str) -> None:
    copy_to(tmp_path)
    target = tmp_path / file
    text = target.read_text(encoding="utf-8")
    assert text.count(code) == 1, f"{file} has no single {code!r}"
    if "conn.isolation" in instead:
        text = text.replace('self.raw.conn.execute("COMMIT")', "pass")
    target.write_text(text.replace(code, instead), encoding="utf-8")
    ran = run(tmp_path, test)
    assert ran.returncode == 1, ran.stdout[-2000:]
