"""The composition's Ray commands, against the Ray that is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

COMPOSED = Path(__file__).parents[2] / "deploy" / "container" / "compose.yml"
SERVICES = yaml.safe_load(COMPOSED.read_text(encoding="utf-8"))["services"]
COMMANDS = {
    "head": SERVICES["ray-head"]["command"],
    "node": SERVICES["ray-node"]["command"],
    "health": SERVICES["ray-head"]["healthcheck"]["test"][1:],
}
PARSE = """
import json, sys
from ray.scripts.scripts import cli

name, *options = json.loads(sys.argv[1])
assert cli.commands[name].make_context(name, options).args == []
"""
"""Run in a process of its own: Ray reads the mode of its tokens when it is imported, and never again."""


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_ray_takes_these_words(words: list[str]) -> None:
    program, *rest = words
    assert program == "ray"
    done = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(rest)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ray_refuses_words_that_it_does_not_know() -> None:
    words = json.dumps([*COMMANDS["node"][1:], "--no-such-option"])
    done = subprocess.run(
        [sys.executable, "-c", PARSE, words], capture_output=True, text=True, timeout=120, check=False
    )
    assert "No such option" in done.stderr
