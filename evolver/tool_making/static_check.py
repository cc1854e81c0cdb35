"""Static check of a function that a model wrote.

Isolation is the sandbox's work; this check only drops what cannot be a pure little function, before it costs a call.
"""

import ast
from collections.abc import Collection

from evolver.tool_making.drop_reason import ToolDropReason

LONGEST = 2000
"""Characters of a source."""
_MOST_NODES = 400
_MODULES = frozenset(("math", "re", "string", "statistics", "datetime", "itertools", "functools", "collections"))
_REFUSED_NAMES = frozenset(
    ("breakpoint", "compile", "delattr", "eval", "exec", "exit", "getattr", "globals", "hash", "help", "id", "input",
     "locals", "memoryview", "object", "open", "print", "quit", "setattr", "super", "type", "vars")
)  # fmt: skip
_READS_CLOCK = frozenset(("now", "today", "utcnow"))
_REFUSED_NODES = (
    ast.AsyncFor, ast.AsyncFunctionDef, ast.AsyncWith, ast.Await, ast.ClassDef, ast.Delete, ast.FunctionDef, ast.Global,
    ast.Nonlocal, ast.With, ast.Yield, ast.YieldFrom,
)  # fmt: skip


def problem(source: str, name: str, parameters: Collection[str]) -> ToolDropReason | None:
    """Return the reason if ``source`` is not one plain function ``name`` that uses all ``parameters``, else None."""
    if len(source) > LONGEST:
        return ToolDropReason.CODE_TOO_LONG
    try:
        module = ast.parse(source)
        nodes = list(ast.walk(module))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ToolDropReason.CODE_NO_PYTHON
    if len(nodes) > _MOST_NODES:
        return ToolDropReason.CODE_TOO_LONG
    function = module.body[0] if len(module.body) == 1 else None
    if not isinstance(function, ast.FunctionDef) or function.name != name or function.decorator_list:
        return ToolDropReason.CODE_NOT_ONE_FUNCTION
    refused = (reason for node in nodes if node is not function and (reason := _refused(node, name)))
    return next(refused, None) or _misuse(function.args, nodes, set(parameters))


def _misuse(arguments: ast.arguments, nodes: list[ast.AST], parameters: set[str]) -> ToolDropReason | None:
    if {argument.arg for argument in arguments.args} != parameters or arguments.vararg or arguments.kwarg:
        return ToolDropReason.CODE_OTHER_PARAMETERS
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if not used >= parameters:
        return ToolDropReason.CODE_IGNORES_A_PARAMETER
    returns = any(isinstance(node, ast.Return) and node.value for node in nodes)
    return None if returns else ToolDropReason.CODE_RETURNS_NOTHING


def _refused(node: ast.AST, own_name: str) -> ToolDropReason | None:
    match node:
        case ast.Import(names=names):
            return None if all(alias.name in _MODULES for alias in names) else ToolDropReason.CODE_IMPORTS
        case ast.ImportFrom(module=module, level=level, names=names):
            plain = module in _MODULES and not level and not any(alias.name in _READS_CLOCK for alias in names)
            return None if plain else ToolDropReason.CODE_IMPORTS
        case ast.Name(id=used) if used == own_name:
            return ToolDropReason.CODE_CALLS_ITSELF
        case ast.Attribute(attr=attribute) if attribute in _READS_CLOCK:
            return ToolDropReason.CODE_READS_THE_CLOCK
        case ast.Name(id=used) | ast.Attribute(attr=used) if used in _REFUSED_NAMES or used.startswith("_"):
            return ToolDropReason.CODE_NEEDS_TOO_MUCH
        case _:
            return ToolDropReason.CODE_NEEDS_TOO_MUCH if isinstance(node, _REFUSED_NODES) else None
