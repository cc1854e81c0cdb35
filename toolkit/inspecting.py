"""Inside the sandbox: what tools a module offers. The host never imports a user's module.

``marked`` lists the functions that a module marks with ``@tool``; ``offered`` describes the functions of any module,
from its own type hints or from typeshed's stubs. Both return plain JSON.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from toolkit import stubs
from toolkit.declare import Effect
from toolkit.describing import NotDescribable, describe, tools_of
from toolkit.names import BadName, fitted

PURE = frozenset(
    (
        "base64", "binascii", "bisect", "builtins", "calendar", "cmath", "colorsys", "datetime", "decimal", "difflib",
        "email.utils", "fnmatch", "fractions", "hashlib", "heapq", "html", "ipaddress", "json", "keyword", "math",
        "operator", "posixpath", "quopri", "re", "shlex", "statistics", "string", "stringprep", "textwrap",
        "unicodedata", "urllib.parse", "uuid", "zlib",
    )
)  # fmt: skip
"""Modules of the standard library whose functions depend on their arguments only."""
READS = frozenset(("random", "secrets", "time", "zoneinfo", "platform", "sys"))
_VALUES = {
    "datetime": ("date", "datetime", "time"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "ipaddress": ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"),
    "uuid": ("UUID",),
}
"""Classes whose objects JSON can carry as text: their methods are tools too."""
_NOT_OFFERED = {
    "builtins": "breakpoint compile delattr eval exec exit getattr globals hasattr help id input locals open print "
    "quit setattr vars",
    "posixpath": "exists expanduser getatime getctime getmtime getsize isdevdrive isdir isfile isjunction islink "
    "ismount lexists realpath samefile sameopenfile",
    "time": "sleep clock_settime clock_settime_ns pthread_getcpuclockid",
    "operator": "call",
}
"""Functions that need the program or the files around them."""
_READING = frozenset(("now", "today", "utcnow", "localtime", "fromtimestamp", "getnode", "uuid1", "uuid4"))
_MOST_TEXT = 160
_Binding = list[list[str]]


def marked(module: str) -> list[dict[str, Any]]:
    """Return the tools that ``module`` marks with ``@tool``. Raises NotDescribable."""
    tools = tools_of(importlib.import_module(module), source=f"module:{module}")
    return [tool.model_dump(mode="json") for tool in tools]


def offered(module: str) -> dict[str, Any]:
    """Return ``{"tools": [...], "left_out": [[name, reason], ...]}`` for the public functions of ``module``."""
    found = importlib.import_module(module)
    tools: list[dict[str, Any]] = []
    left_out: list[list[str]] = []
    for name, function in _functions(found):
        if name in _NOT_OFFERED.get(module, "").split():
            left_out.append([name, "needs the program or the files around it"])
            continue
        try:
            tools.append(_tool(found, name, function))
        except (NotDescribable, stubs.NoShape, BadName) as error:
            reason = f"needs {error}, a live object" if isinstance(error, stubs.NoShape) else str(error)
            left_out.append([name, reason])
    return {"tools": tools, "left_out": left_out}


def _functions(module: ModuleType) -> list[tuple[str, Any]]:
    listed = getattr(module, "__all__", None)
    names = sorted(listed) if listed else sorted(name for name in vars(module) if not name.startswith("_"))
    found: list[tuple[str, Any]] = []
    for name in names:
        value = getattr(module, name, None)
        own = listed is not None or getattr(value, "__module__", None) in (module.__name__, f"_{module.__name__}", "nt")
        if (inspect.isroutine(value) and own) or (inspect.isbuiltin(value) and value.__module__ != "sys"):
            found.append((name, value))
    for kind in _VALUES.get(module.__name__, ()):
        owner = getattr(module, kind)
        found += [(f"{kind}.{name}", member) for name, member in inspect.getmembers(owner) if not name.startswith("_")]
    return found


def _tool(module: ModuleType, name: str, function: Any) -> dict[str, Any]:
    label = fitted(*_words(module.__name__, name))
    binding: _Binding
    properties: dict[str, Any]
    try:
        description, properties, required, binding = _from_hints(function, name)
    except (NotDescribable, TypeError, ValueError, NameError):
        properties, required, binding = _from_stub(module.__name__, name)
        description = _first_sentence(function)
    effect = Effect.PURE if module.__name__ in PURE else Effect.READS if module.__name__ in READS else Effect.WRITES
    return {
        "name": label,
        "description": description or f"{name.replace('.', ' ').replace('_', ' ').capitalize()}.",
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        "effect": _declared(effect, f"{module.__name__}.{name}"),
        "sandbox_state": effect is Effect.WRITES,
        "source": f"python:{module.__name__}",
        "module": module.__name__,
        "function": name,
        "binding": binding,
    }


def _declared(effect: Effect, name: str) -> str:
    """Reading the clock or drawing a number is no pure function, in whichever module it stands."""
    reads = name.rpartition(".")[2] in _READING
    return (Effect.READS if reads and effect is Effect.PURE else effect).value


def _words(module: str, name: str) -> list[str]:
    """``datetime``, ``date.weekday`` -> datetime date weekday; a word is not said twice in a row."""
    parts = ["python" if module == "builtins" else module, *name.replace("IPv", "Ipv").split(".")]
    words = [word for part in parts for word in part.split(".")]
    return [word for index, word in enumerate(words) if not index or word.lower() != words[index - 1].lower()]


def _from_hints(function: Callable[..., Any], name: str) -> tuple[str, dict[str, Any], list[str], _Binding]:
    if "." in name or not inspect.isfunction(function):
        raise NotDescribable("no type hints")
    tool = describe(function)
    if inspect.get_annotations(function, eval_str=True).get("return") in (None, "None"):
        raise NotDescribable("returns nothing")
    properties: Any = tool.parameters["properties"]
    required: Any = tool.parameters["required"]
    return tool.description[:_MOST_TEXT], properties, required, [[each, "keyword", ""] for each in properties]


def _from_stub(module: str, name: str) -> tuple[dict[str, Any], list[str], _Binding]:
    """The first definition in the stub that JSON can express. Raises NotDescribable or NoShape, of the last one."""
    problem: ValueError = NotDescribable("has neither type hints nor a stub")
    for function, where, owner in _definitions(module, name):
        try:
            return _described(function, where, owner)
        except (stubs.NoShape, NotDescribable) as error:
            problem = error
    raise problem


def _definitions(module: str, name: str) -> list[tuple[stubs.Function, str, str]]:
    owner, _, member = name.rpartition(".")
    if not owner:
        where, functions = stubs.definitions(module, name)
        return [(function, where, "") for function in functions]
    return [(function, module, owner) for function in stubs.methods(module, owner, member)]


def _described(function: stubs.Function, where: str, owner: str) -> tuple[dict[str, Any], list[str], _Binding]:
    returned = stubs.shape_of(function.returns, where, owner)
    if returned.schema == {"type": "null"}:
        raise NotDescribable("returns nothing")
    properties: dict[str, Any] = {}
    required: list[str] = []
    binding: _Binding = []
    decorators = {getattr(each, "id", "") for each in function.decorator_list}
    if owner and not decorators & {"classmethod", "staticmethod"}:
        own = stubs.shape_of(stubs.ast.Name(owner), where)
        properties["value"] = own.schema
        required.append("value")
        binding.append(["value", "self", own.convert])
    parameters = stubs.parameters_of(function, where, owner if "staticmethod" not in decorators else "")
    for each in parameters:
        if each.shape is None:
            continue
        properties[each.name] = {**each.shape.schema, **({} if each.default is None else {"default": each.default})}
        if each.required:
            required.append(each.name)
        binding.append([each.name, each.kind, each.shape.convert])
    return properties, required, binding


def _first_sentence(function: Any) -> str:
    paragraph = re.split(r"\n\s*\n", inspect.getdoc(function) or "")
    if len(paragraph) > 1 and re.match(r"^[\w.]+\(.*\)(\s*->.*)?$", paragraph[0].strip().splitlines()[0]):
        paragraph = paragraph[1:]
    text = " ".join(paragraph[0].split())
    text = re.sub(r"^[\w.]+\([^)]*\)\s*(->|--)\s*[\w\[\], ]+?(?=[A-Z]|$)", "", text)
    sentence = re.split(r"(?<=[.!?])\s", text)[0]
    return sentence[: _MOST_TEXT - 1] + "…" if len(sentence) > _MOST_TEXT else sentence
