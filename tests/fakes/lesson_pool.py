"""Traces to make a dataset of, and what one is read for."""

import json
from pathlib import Path
from typing import Any

from hypothesis import settings

from evolver.config import DatasetConfig
from evolver.types import Dataset, Trace
from tests.fakes.evolution import trace
from tests.fakes.stages import dataset
from toolkit.tool import Tool

TOOLS = [
    Tool(
        name=f"{verb}_{thing}",
        description=f"{verb.title()} a {thing}.",
        parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    )
    for verb, thing in (
        ("paint", "wall"),
        ("cook", "soup"),
        ("count", "sheep"),
        ("fold", "paper"),
        ("plant", "tree"),
        ("paint", "door"),
    )
]


QUICK = settings(max_examples=25, deadline=None)


def plain(**settings: Any) -> DatasetConfig:
    """Without lessons of two calls and other schemas, so that rows can be held against traces."""
    own = {"composed_share": 0.0, "renamed_share": 0.0, "answer_share": 1.0}
    return DatasetConfig(**{**own, **settings})


def calling(number: int, tool: Tool, prefix: str = "t") -> Trace:
    """Its request fits its tool."""
    return trace(
        f"{tool.description} {prefix}{number}",
        tool.name,
        {"n": number},
        number,
        identity=f"{tool.name}-{number}",
        answer=f"It is {number}.",
    )


def pool(calls: int, talk: int, prefix: str = "t") -> list[Trace]:
    made = [calling(n, TOOLS[n % len(TOOLS)], prefix) for n in range(calls)]
    return made + [trace(f"hello {prefix}{n}", identity=f"no_tool-{n}") for n in range(talk)]


def built(
    config: DatasetConfig,
    kept: list[Trace],
    replay: list[Trace],
    folder: Path,
    *,
    shown: int = 3,
    seed: int = 0,
    tools: list[Tool] = TOOLS,
) -> tuple[Dataset, list[dict[str, Any]], list[dict[str, Any]]]:
    made = dataset(config, kept, replay, tools, folder, shown=shown, seed=seed)
    train, valid = (
        [json.loads(line) for line in (made.folder / name).read_text().splitlines()]
        for name in ("train.jsonl", "valid.jsonl")
    )
    return made, train, valid


def request_of(row: dict[str, Any]) -> str:
    return row["messages"][0]["content"]


def names_in(row: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in row["tools"]]


def called_in(row: dict[str, Any]) -> list[str]:
    return [call["function"]["name"] for message in row["messages"] for call in message.get("tool_calls", ())]
