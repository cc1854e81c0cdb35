"""The rules of the house that a test can hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "peft", "vllm")


def test_imports_go_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", ["toolkit.cli", "agent.cli", "agent.serving.serve", "evolver.cli", "evolver.demo"])
def test_commands_start_without_the_heavy_packages(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["toolkit", "agent", "evolver"])
def test_every_command_is_in_the_readme(command: str) -> None:
    from importlib import import_module

    app = import_module(f"{command}.cli").app
    names = [entry.name or entry.callback.__name__ for entry in app.registered_commands]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    missing = [
        name for name in names if not any(f"`{command} " in row and re.search(rf"\b{name}\b", row) for row in rows)
    ]
    assert missing == []


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils.py", "helpers.py", "common.py", "misc.py"}
    found = [path for package in ("toolkit", "agent", "evolver") for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 50
    assert [path for path in found if path.name in vague] == []
