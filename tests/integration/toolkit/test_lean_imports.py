"""What a command needs not, it does not import."""

import subprocess
import sys

import pytest

from toolkit.lean_imports import absent


def test_modules_are_absent_inside_and_there_again_afterwards() -> None:
    with absent("this_is_nobody", "json"):
        assert sys.modules["this_is_nobody"] is None
        with pytest.raises(ImportError):
            __import__("this_is_nobody")
        assert __import__("json").dumps({}) == "{}"  # in use already
    assert "this_is_nobody" not in sys.modules


def test_going_back_imports_neither_numpy_nor_a_command_line_of_httpx() -> None:
    code = (
        "import sys; from evolver.cli import main; from evolver.release import release; "
        "print({'numpy', 'httpx._main', 'rich'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
    again = "from evolver.store import ledger; import numpy, httpx; assert numpy.__version__ and httpx.main"
    subprocess.run([sys.executable, "-c", again], check=True)
