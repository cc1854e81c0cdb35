"""Users' modules as tools: described inside the sandbox, for the host never imports them."""

import importlib.util
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from toolkit.config import SandboxConfig, ToolkitConfig
from toolkit.errors import ConfigError
from toolkit.registry import LeftOut, ToolRegistry
from toolkit.sandbox import Invocation, Sandbox
from toolkit.sandbox.opening import open_sandbox
from toolkit.tool import Tool

if TYPE_CHECKING:
    from toolkit.sandbox.bubblewrap import BubblewrapSandbox

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
    wanted, folder = (INSPECTOR, *modules, *python_modules), config.tools.folder
    with open_sandbox(_LIMITS, wanted, check=False, name="inspection", folder=folder) as sandbox:
        for module in modules:
            tools = _inspect(sandbox, "marked", module)
            if not tools:
                raise ConfigError(f"toolkit.tools.modules: {module} marks no function with @tool; mark one")
            for tool in _tools(tools, module):
                registry.add(tool)
        for module in python_modules:
            found = _inspect(sandbox, "offered", module)
            registry.left_out += [LeftOut(f"python:{module}", name, reason) for name, reason in found["left_out"]]
            registry.add_usable(_tools(found["tools"], module))


def open_modules(config: ToolkitConfig, *, check: bool = True) -> "BubblewrapSandbox":
    """Return the sandbox in which the functions of ``modules`` and ``python_modules`` run. Raises like open_sandbox."""
    own = (*config.tools.modules, *config.tools.python_modules)
    return open_sandbox(config.sandbox, (CALLER, *own), check=check, name="modules", folder=config.tools.folder)


def _inspect(sandbox: Sandbox, what: str, module: str) -> Any:
    result = sandbox.run(Invocation(INSPECTOR, what, {"module": module}))
    if not result.ok:
        raise ConfigError(f"module {module} cannot be described: {result.message}; correct the module")
    return result.value


def _tools(described: list[dict[str, Any]], module: str) -> list[Tool]:
    try:
        return [Tool.model_validate(each) for each in described]
    except ValidationError as error:
        raise ConfigError(f"module {module} describes a tool wrongly: {error.errors()[0]['msg']}; correct it") from None
