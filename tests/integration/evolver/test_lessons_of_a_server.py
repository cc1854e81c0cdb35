"""A published MCP server as a source of lessons: its calls run in its sandbox, are run again, and are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolver.config import VerifyConfig
from evolver.store.jsonl import read_lines
from evolver.types import Trace, Verdict
from evolver.verification.verify import verify
from tests.fakes.evolution import trace
from tests.fakes.stages import context
from toolkit.config import McpServerConfig, ToolkitConfig, ToolsConfig
from toolkit.execute import Executor, open_executor
from toolkit.tool import ToolCall

SECONDS = 120.0
"""Generous: importing the SDK takes seconds on a busy machine."""
COMMAND = ("python", "-m", "mcp_server_time", "--local-timezone", "UTC")
ZONES = {"source_timezone": "Europe/Paris", "time": "14:30", "target_timezone": "Asia/Tokyo"}
REQUEST = "Convert the time 14:30 from Europe/Paris to Asia/Tokyo, please."


@pytest.fixture(scope="module")
def clock() -> Iterator[Executor]:
    server = McpServerConfig(command=COMMAND, timeout_seconds=SECONDS)
    with open_executor(ToolkitConfig(tools=ToolsConfig(builtin=False), mcp={"time": server})) as executor:
        assert executor.registry.left_out == []
        yield executor


def test_its_calls_become_lessons_where_reading_is_allowed(clock: Executor, tmp_path: Path) -> None:
    stage = context(tmp_path, clock, allow_reads=True)
    assert {tool.name for tool in stage.tools if stage.policy.may_run(tool)} == {
        "time_convert_time",
        "time_get_current_time",
    }
    result = clock.execute(ToolCall(id="1", name="time_convert_time", arguments=ZONES)).value
    right = trace(REQUEST, "time_convert_time", ZONES, result)
    wrong = trace(
        "Convert the time 14:30 from Europe/Parma to Asia/Tokyo, please.",
        "time_convert_time",
        {**ZONES, "source_timezone": "Europe/Parma"},
        None,
    )
    found = verify(stage, VerifyConfig(round_trip=False), [right, wrong])
    verdicts = {one.trace_id: one.reason for one in read_lines(found.verdicts_file, Verdict)}
    assert verdicts == {right.id: "", wrong.id: "call_tool_failed"}
    assert read_lines(found.file, Trace) == [right]


def test_it_reads_a_clock_so_that_lessons_run_none_of_it_otherwise(clock: Executor, tmp_path: Path) -> None:
    stage = context(tmp_path, clock)
    assert not [tool for tool in stage.tools if stage.policy.may_run(tool)]
