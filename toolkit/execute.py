"""One tool call, from what the model asked to what it gets back."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from toolkit.argument_check import ArgumentCheck, no_tool
from toolkit.config import ToolkitConfig
from toolkit.errors import ConfigError
from toolkit.made import APPROVED, MadeCode, read_approved
from toolkit.modules import CALLER, open_modules
from toolkit.registry import ToolRegistry
from toolkit.sandbox import ExecResult, Invocation, Runner, Sandbox
from toolkit.sandbox.insistent import Insistent
from toolkit.sandbox.made_code import ModelMadePool
from toolkit.sandbox.opening import open_sandbox
from toolkit.sources import builtin_modules, load_local_tools, open_servers
from toolkit.tool import Tool, ToolCall, ToolError, ToolErrorKind, ToolResult


class Executor:
    """Validates a call, runs it in the sandbox, maps what went wrong to a ToolError. Thread-safe."""

    def __init__(
        self,
        registry: ToolRegistry,
        sandbox: Sandbox,
        others: Mapping[str, Runner] | None = None,
        *,
        allows: Callable[[Tool], bool] = lambda tool: True,
    ) -> None:
        """``others``: what runs the tools of other sources, by the kind of source (``module``, ``python``, ``mcp``,
        ``made``). Calls of tools that ``allows`` refuses fail, and nothing runs."""
        self.registry = registry
        self.allows = allows
        self._sandbox = sandbox
        self._others = dict(others or {})
        self._checks: dict[str, ArgumentCheck] = {}

    def runner(self, kind: str) -> Runner:
        """Return what runs the tools whose source is of ``kind``."""
        return self._others.get(kind, self._sandbox)

    def with_tools(self, tools: Iterable[Tool], kind: str, runner: Runner) -> "Executor":
        """Return an executor of these tools and of ``tools``, whose source is of ``kind`` and which ``runner`` runs.

        It is closed with this one. A tool whose name is taken is left out.
        """
        registry = ToolRegistry(self.registry)
        for tool in tools:
            with suppress(ConfigError):
                registry.add(tool)
        return Executor(registry, self._sandbox, {**self._others, kind: runner}, allows=self.allows)

    def execute(self, call: ToolCall, *, workspace: Path | None = None) -> ToolResult:
        """Run a call and return its result; raise nothing that a call can cause, but SandboxUnavailable where isolation
        is broken."""
        started = time.monotonic()
        tool = self.registry.get(call.name)
        if tool is None:
            return _failed(call, started, ToolErrorKind.UNKNOWN_TOOL, no_tool(call.name, self.registry.names()))
        if call.arguments is None:
            message = 'the arguments are no JSON object; write {"name": ..., "arguments": {...}}'
            return _failed(call, started, ToolErrorKind.MALFORMED_CALL, message)
        problem = self.problem(tool, call.arguments)
        if problem is not None:
            return _failed(call, started, ToolErrorKind.INVALID_ARGUMENTS, problem)
        if not self.allows(tool):
            return _failed(call, started, ToolErrorKind.TOOL_FAILED, "it would change something outside: it is not run")
        return tool_result(call, self._run(tool, call.arguments, workspace if tool.sandbox_state else None))

    def _run(self, tool: Tool, arguments: dict[str, Any], workspace: Path | None) -> ExecResult:
        sandbox = self.runner(tool.source.partition(":")[0])
        if tool.binding is None:
            return sandbox.run(Invocation(tool.module, tool.function, arguments, workspace=workspace))
        bound = {"module": tool.module, "function": tool.function, "binding": tool.binding, "arguments": arguments}
        return sandbox.run(Invocation(CALLER, "call", bound, workspace=workspace))

    def problem(self, tool: Tool, arguments: dict[str, Any]) -> str | None:
        """Return the problem with ``arguments`` and its fix; None when they fit the schema."""
        check = self._checks.get(tool.name)
        if check is None:
            check = self._checks[tool.name] = ArgumentCheck(tool.parameters)
        return check(arguments)


@contextmanager
def open_executor(
    config: ToolkitConfig, *, allows: Callable[[Tool], bool] = lambda tool: True, insist: bool = False
) -> Iterator[Executor]:
    """Open the executor that ``config`` describes: its tools, in checked sandboxes. Raises as those two do.

    ``insist`` is for callers to whom each result is a verdict: one of the kind LOST then says that the call ends its
    worker each time, and a broken sandbox raises SandboxUnavailable (toolkit.sandbox.insistent).
    """
    registry = load_local_tools(config)
    modules = builtin_modules() if config.tools.builtin else []
    with ExitStack() as stack:

        def opened(sandbox: Sandbox) -> Sandbox:
            return stack.enter_context(Insistent(sandbox) if insist else sandbox)

        sandbox = opened(open_sandbox(config.sandbox, modules))
        others: dict[str, Runner] = {}
        if config.tools.modules or config.tools.python_modules:
            users = opened(open_modules(config))
            others = {"module": users, "python": users}
        if config.mcp:
            servers = stack.enter_context(open_servers(config))
            servers.add_to(registry)
            others["mcp"] = servers
        made_code = stack.enter_context(closing(ModelMadePool(config.sandbox, insist=insist)))
        others[APPROVED] = MadeCode(read_approved(config.tools.approved), made_code)
        yield Executor(registry, sandbox, others, allows=allows)


def _failed(call: ToolCall, started: float, kind: ToolErrorKind, message: str) -> ToolResult:
    duration = round((time.monotonic() - started) * 1000, 3)
    return ToolResult(
        call_id=call.id, name=call.name, error=ToolError(kind=kind, message=message), duration_ms=duration
    )


def tool_result(call: ToolCall, result: ExecResult) -> ToolResult:
    """Return the sandbox's outcome of ``call`` as a result that a model may read."""
    if result.ok:
        return ToolResult(call_id=call.id, name=call.name, value=result.value, duration_ms=result.duration_ms)
    named = result.error_type not in ("", "ValueError", "MemoryError")
    message = f"{result.error_type}: {result.message}" if named else result.message
    return ToolResult(
        call_id=call.id,
        name=call.name,
        error=ToolError(kind=ToolErrorKind(result.status.value), message=message),
        duration_ms=result.duration_ms,
    )
