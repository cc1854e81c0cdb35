"""What can be said of a function that a model wrote without running it.

Isolation is the sandbox's work; this check only drops what cannot be a pure little function, before it costs a call.
"""

import ast
from collections.abc import Collection

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


def problem(source: str, name: str, parameters: Collection[str]) -> str:
    """Why ``source`` is not one plain function ``name`` that uses each of its ``parameters``; "" when it is.

    The answer is a word for the counters, not a sentence.
    """
    if len(source) > LONGEST:
        return "too_long"
    try:
        module = ast.parse(source)
        nodes = list(ast.walk(module))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "no_python"
    if len(nodes) > _MOST_NODES:
        return "too_long"
    function = module.body[0] if len(module.body) == 1 else None
    if not isinstance(function, ast.FunctionDef) or function.name != name or function.decorator_list:
        return "not_one_function"
    refused = (reason for node in nodes if node is not function and (reason := _refused(node, name)))
    return next(refused, "") or _misuse(function.args, nodes, set(parameters))


def _misuse(arguments: ast.arguments, nodes: list[ast.AST], parameters: set[str]) -> str:
    if {argument.arg for argument in arguments.args} != parameters or arguments.vararg or arguments.kwarg:
        return "other_parameters"
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if not used >= parameters:
        return "ignores_a_parameter"
    return "" if any(isinstance(node, ast.Return) and node.value for node in nodes) else "returns_nothing"


def _refused(node: ast.AST, own_name: str) -> str:
    match node:
        case ast.Import(names=names):
            return "" if all(alias.name in _MODULES for alias in names) else "imports"
        case ast.ImportFrom(module=module, level=level, names=names):
            plain = module in _MODULES and not level and not any(alias.name in _READS_CLOCK for alias in names)
            return "" if plain else "imports"
        case ast.Name(id=used) if used == own_name:
            return "calls_itself"
        case ast.Attribute(attr=attribute) if attribute in _READS_CLOCK:
            return "reads_the_clock"
        case ast.Name(id=used) | ast.Attribute(attr=used) if used in _REFUSED_NAMES or used.startswith("_"):
            return "needs_too_much"
        case _:
            return "needs_too_much" if isinstance(node, _REFUSED_NODES) else ""
