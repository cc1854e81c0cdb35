"""Users' modules as tools: described inside the sandbox, for the host never imports them."""

import importlib.util
from typing import Any

from pydantic import ValidationError

from toolkit.config import SandboxConfig, ToolkitConfig
from toolkit.errors import ConfigError
from toolkit.registry import LeftOut, ToolRegistry
from toolkit.sandbox import Sandbox, open_sandbox
from toolkit.tool import Tool

_LIMITS = SandboxConfig(timeout_seconds=60, memory_mib=1024, workspace_mib=1, output_kib=16384, workers=1)
INSPECTOR = "toolkit.inspecting"
CALLER = "toolkit.python_call"


def add_modules(registry: ToolRegistry, config: ToolkitConfig) -> None:
    """Add the ``@tool`` functions of ``modules`` and the functions of ``python_modules``.

    What cannot be a tool is noted in ``registry.left_out``. Raises ConfigError for a module that cannot be imported,
    has no tools, or whose tools cannot be described; and like open_sandbox.
    """
    modules, python_modules = config.tools.modules, config.tools.python_modules
    if python_modules and importlib.util.find_spec("typeshed_client") is None:
        raise ConfigError("toolkit.tools.python_modules needs the package typeshed-client; install it")
    with open_sandbox(_LIMITS, (INSPECTOR, *modules, *python_modules), check=False, name="inspection") as sandbox:
        for module in modules:
            tools = _inspect(sandbox, "marked", module)
            if not tools:
                raise ConfigError(f"toolkit.tools.modules: {module} marks no function with @tool; mark one")
            for tool in _tools(tools, module):
                registry.add(tool)
        for module in python_modules:
            found = _inspect(sandbox, "offered", module)
            registry.left_out += [LeftOut(f"python:{module}", name, reason) for name, reason in found["left_out"]]
            _add_each(registry, _tools(found["tools"], module))


def _inspect(sandbox: Sandbox, what: str, module: str) -> Any:
    result = sandbox.run(INSPECTOR, what, {"module": module})
    if not result.ok:
        raise ConfigError(f"module {module} cannot be described: {result.message}; correct the module")
    return result.value


def _tools(described: list[dict[str, Any]], module: str) -> list[Tool]:
    try:
        return [Tool.model_validate(each) for each in described]
    except ValidationError as error:
        raise ConfigError(f"module {module} describes a tool wrongly: {error.errors()[0]['msg']}; correct it") from None


def _add_each(registry: ToolRegistry, tools: list[Tool]) -> None:
    for tool in tools:
        try:
            registry.add(tool)
        except ConfigError as error:
            registry.left_out.append(LeftOut(tool.source, tool.function, str(error)))
