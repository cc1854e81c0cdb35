"""Figures that a page repeats are those of their source."""

import inspect
import json
from pathlib import Path

from agent.commands import log

ROOT = Path(__file__).parents[2]


def test_the_readme_says_how_many_kept_lessons_two_readers_found_wrong() -> None:
    lines = (ROOT / "docs" / "audits" / "2026-11-30.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = sum(all(json.loads(line)["wrong"]) for line in lines)
    _, _, limits = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Limits")
    assert f"{wrong} of {len(lines)} that two readers judged" in limits
    assert "docs/results.md#what-the-lessons-are-worth" in limits


def test_the_commands_page_names_the_default_of_agent_log() -> None:
    default = inspect.signature(log).parameters["limit"].default
    (row,) = [
        line for line in (ROOT / "docs/commands.md").read_text("utf-8").splitlines() if line.startswith("| `agent log")
    ]
    assert f" {default} unless `--limit` says another number" in row
