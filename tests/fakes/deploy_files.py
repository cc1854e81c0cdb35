"""The files of deploy/, and the programs that read them."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


DEPLOY = ROOT / "deploy"


def needs(program: str, *works: str) -> None:
    """Skip what only ``program`` can check, where it is missing or ``program WORKS`` fails."""
    if shutil.which(program) is None or subprocess.run([program, *works], capture_output=True, check=False).returncode:
        pytest.skip(f"not checked: {' '.join([program, *works])} does not run here")
