"""The composition's Ray commands, against the Ray that is installed."""

from pathlib import Path

import pytest
import yaml
from click import Command, Context

COMPOSED = Path(__file__).parents[2] / "deploy" / "container" / "compose.yml"
SERVICES = yaml.safe_load(COMPOSED.read_text(encoding="utf-8"))["services"]
COMMANDS = {
    "head": SERVICES["ray-head"]["command"],
    "node": SERVICES["ray-node"]["command"],
    "health": SERVICES["ray-head"]["healthcheck"]["test"][1:],
}


@pytest.mark.filterwarnings("ignore")  # of other people's packages
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_ray_takes_these_words(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    program, name, *options = words
    assert program == "ray"
    command = cli.commands[name]
    assert isinstance(command, Command)
    parsed = command.make_context(name, list(options))
    assert isinstance(parsed, Context)
    assert parsed.args == []
