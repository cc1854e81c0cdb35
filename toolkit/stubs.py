"""JSON schemas for the types in Python's stub files (typeshed), with the conversions that a call needs.

typeshed says what the standard library's functions take, most of which have no type hints of their own. A ``Shape``
is a schema and the name of the conversion (toolkit.python_call) from JSON to the Python value.
"""

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import typeshed_client
from typeshed_client.parser import ImportedName, NameInfo, OverloadedName

Function = ast.FunctionDef | ast.AsyncFunctionDef


class NoShape(ValueError):
    """JSON has nothing for this type; the message is the type."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A JSON schema, and how its values become Python's: "" for as they are, "Decimal", "list:date"."""

    schema: dict[str, Any]
    convert: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a stub. ``shape`` is None where JSON has nothing for it, which only an optional one may be."""

    name: str
    kind: str
    shape: Shape | None
    required: bool
    default: Any = field(default=None)


_INTEGER = Shape({"type": "integer"})
_NUMBER = Shape({"type": "number"})
_TEXT = Shape({"type": "string"})
_FLAG = Shape({"type": "boolean"})
_ANY = Shape({})
_NULL = Shape({"type": "null"})


def _text(convert: str, hint: str) -> Shape:
    return Shape({"type": "string", "description": hint}, convert)


_SIMPLE = {
    **dict.fromkeys(("int", "SupportsIndex", "SupportsInt", "ConvertibleToInt"), _INTEGER),
    **dict.fromkeys(("float", "SupportsFloat", "ConvertibleToFloat", "Real", "SupportsAbs"), _NUMBER),
    **dict.fromkeys(("str", "AnyStr", "LiteralString", "Text", "StrPath", "StrOrLiteralStr", "PathLike"), _TEXT),
    **dict.fromkeys(("bytes", "bytearray", "ReadableBuffer", "Buffer", "SizedBuffer"), _text("bytes", "Plain text.")),
    **dict.fromkeys(("object", "Any", "Incomplete", "Hashable", "_T", "_S", "_T_co", "SupportsRichComparison"), _ANY),
    **dict.fromkeys(("SupportsRichComparisonT", "_T1", "_T2", "Sized", "SupportsDunderLT", "SupportsDunderGT"), _ANY),
    "bool": _FLAG,
    "None": _NULL,
    "date": _text("date", "As 2024-03-01."),
    "datetime": _text("datetime", "As 2024-03-01T14:30:00."),
    "time": _text("time", "As 14:30:00."),
    "timedelta": Shape({"type": "number", "description": "In seconds."}, "timedelta"),
    "Decimal": _text("Decimal", 'A decimal number, for example "1.25".'),
    "_Decimal": _text("Decimal", 'A decimal number, for example "1.25".'),
    "Fraction": _text("Fraction", 'A fraction, for example "3/4".'),
    "IPv4Address": _text("IPv4Address", "As 192.0.2.1."),
    "IPv6Address": _text("IPv6Address", "As 2001:db8::1."),
    "IPv4Network": _text("IPv4Network", "As 192.0.2.0/24."),
    "IPv6Network": _text("IPv6Network", "As 2001:db8::/32."),
    "UUID": _text("UUID", "As 12345678-1234-5678-1234-567812345678."),
    "struct_time": _text("struct_time", "As 2024-03-01T14:30:00."),
    "_TimeTuple": _text("struct_time", "As 2024-03-01T14:30:00."),
}
_LISTS = {
    "list": "", "List": "", "Sequence": "", "Iterable": "", "Collection": "", "MutableSequence": "", "Container": "",
    "SupportsLenAndGetItem": "", "Iterator": "", "Generator": "", "Reversible": "", "SupportsSum": "",
    "set": "set", "Set": "set", "frozenset": "set", "AbstractSet": "set", "MutableSet": "set",
}  # fmt: skip
_OBJECTS = frozenset(("dict", "Dict", "Mapping", "MutableMapping", "SupportsKeysAndGetItem"))
_PREFERENCE = ("string", "number", "integer", "array", "object", "boolean")


@lru_cache(maxsize=1)
def _context() -> Any:
    """Given a search path, typeshed_client starts no other Python to ask for one."""
    return typeshed_client.get_search_context(search_path=[Path(path) for path in sys.path if path])


@lru_cache(maxsize=64)
def names_of(module: str) -> Mapping[str, NameInfo]:
    """Return the names in the stub of ``module``; empty where there is no stub."""
    return typeshed_client.get_stub_names(module, search_context=_context()) or {}


def definitions(module: str, name: str, depth: int = 0) -> tuple[str, list[Function]]:
    """Return the stub's definitions (several where overloaded) of a function, and the module that they stand in."""
    info = names_of(module).get(name)
    if info is None or depth > 5:
        return module, []
    if isinstance(info.ast, ImportedName):
        source = ".".join(info.ast.module_name)
        return definitions(source, info.ast.name, depth + 1) if info.ast.name else (module, [])
    value = info.ast.value if isinstance(info.ast, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(value, ast.Name):
        return definitions(module, value.id, depth + 1)
    if isinstance(value, ast.Attribute):
        return module, [_without_self(each) for each in methods(module, _class_of_instance(value, module), value.attr)]
    return module, functions_in(info)


def _class_of_instance(value: ast.Attribute, module: str) -> str:
    """``random = _inst.random`` with ``_inst: Random = ...``: the class is Random."""
    info = names_of(module).get(getattr(value.value, "id", ""))
    annotation = info.ast.annotation if info and isinstance(info.ast, ast.AnnAssign) else None
    return getattr(annotation, "id", "")


def _without_self(function: Function) -> Function:
    arguments = function.args
    bound = ast.arguments(
        posonlyargs=arguments.posonlyargs[1:],
        args=arguments.args if arguments.posonlyargs else arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )
    return ast.FunctionDef(function.name, bound, function.body, function.decorator_list, function.returns)


def methods(module: str, owner: str, member: str, depth: int = 0) -> list[Function]:
    """Return the definitions of a method or property in the stub of a class or of the classes that it comes from."""
    info = names_of(module).get(owner)
    if info is None or depth > 5:
        return []
    if isinstance(info.ast, ImportedName) and info.ast.name:
        return methods(".".join(info.ast.module_name), info.ast.name, member, depth + 1)
    children = info.child_nodes or {}
    if member in children:
        return functions_in(children[member])
    for base in info.ast.bases if isinstance(info.ast, ast.ClassDef) else ():
        name = getattr(base.value if isinstance(base, ast.Subscript) else base, "id", "")
        found = methods(module, name, member, depth + 1)
        if found:
            return found
    return []


def functions_in(info: NameInfo) -> list[Function]:
    found = info.ast.definitions if isinstance(info.ast, OverloadedName) else [info.ast]
    return [each for each in found if isinstance(each, Function)]


def parameters_of(function: Function, module: str, owner: str = "") -> list[Parameter]:
    """Return the parameters in order; those of a method without ``self``. Raises NoShape for one that cannot be left
    out."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    kinds = ["positional"] * len(arguments.posonlyargs) + ["any"] * len(arguments.args)
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    rows = list(zip(positional, kinds, defaults, strict=True))[1 if owner else 0 :]
    if arguments.vararg is not None:
        rows.append((arguments.vararg, "star", None))
    rows += [(each, "keyword", value) for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [_parameter(each, kind, default, module, owner) for each, kind, default in rows]


def _parameter(each: ast.arg, kind: str, default: ast.expr | None, module: str, owner: str) -> Parameter:
    try:
        shape = shape_of(each.annotation, module, owner)
        if kind == "star":
            shape = Shape({"type": "array", "items": shape.schema}, f"list:{shape.convert}" if shape.convert else "")
    except NoShape:
        if default is None and kind != "star":
            raise
        return Parameter(each.arg.lstrip("_"), kind, None, required=False)
    try:
        value = ast.literal_eval(default) if default is not None else None
    except ValueError:
        value = None
    if value is Ellipsis or not isinstance(value, (str, int, float, bool)):
        value = None
    return Parameter(each.arg.lstrip("_"), kind, shape, required=default is None, default=value)


def shape_of(annotation: ast.expr | None, module: str, owner: str = "", depth: int = 0) -> Shape:  # noqa: PLR0911 - by kind of node
    """Return the Shape of a type in a stub of ``module``, ``Self`` standing for ``owner``. Raises NoShape."""
    if annotation is None or depth > 12:
        raise NoShape("untyped")
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return _NULL
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return shape_of(ast.parse(annotation.value, mode="eval").body, module, owner, depth + 1)
    if isinstance(annotation, ast.BinOp):
        return _union(_options(annotation), module, owner, depth)
    if isinstance(annotation, ast.Subscript):
        return _subscripted(annotation, module, owner, depth)
    name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    if name == "Self" and owner:
        name = owner
    if name in _LISTS:
        return Shape({"type": "array"}, _LISTS[name])
    if name in _OBJECTS:
        return Shape({"type": "object"})
    alias = _alias(name, module) if name.startswith("_") or name not in _SIMPLE else None
    if alias is not None:
        return shape_of(alias, module, owner, depth + 1)
    if name in _SIMPLE:
        return _SIMPLE[name]
    raise NoShape(ast.unparse(annotation))


def _alias(name: str, module: str) -> ast.expr | None:
    """Return the meaning of a name defined in the stub: an alias, or a type variable's constraints or bound."""
    info = names_of(module).get(name)
    node = info.ast if info else None
    if isinstance(node, ImportedName) and node.name and ".".join(node.module_name) != module:
        return _alias(node.name, ".".join(node.module_name)) if name not in _SIMPLE else None
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    if not isinstance(value, ast.Call) or getattr(value.func, "id", "") != "TypeVar":
        return value if not isinstance(value, ast.Call) else None
    bound = next((keyword.value for keyword in value.keywords if keyword.arg == "bound"), None)
    if len(value.args) > 1:
        return ast.Subscript(ast.Name("Union"), ast.Tuple(value.args[1:]))
    return bound or ast.Name("Any")


def _options(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_options(node.left), *_options(node.right)]
    return [node]


def _subscripted(node: ast.Subscript, module: str, owner: str, depth: int) -> Shape:  # noqa: PLR0911 - by generic
    name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        values = [ast.literal_eval(each) for each in inner]
        return Shape({"enum": values})
    if name in ("Union", "Optional"):
        return _union([*inner, *([ast.Constant(None)] if name == "Optional" else [])], module, owner, depth)
    if name in ("tuple", "Tuple"):
        return _tuple(inner, module, owner, depth)
    if name in _LISTS:
        item = shape_of(inner[0], module, owner, depth + 1)
        outer = _LISTS[name]
        if outer and item.convert:
            raise NoShape(ast.unparse(node))
        return Shape({"type": "array", "items": item.schema}, outer or (f"list:{item.convert}" if item.convert else ""))
    if name in _OBJECTS and len(inner) == 2:
        key, value = (shape_of(each, module, owner, depth + 1) for each in inner)
        if key.convert or value.convert:
            raise NoShape(ast.unparse(node))
        return Shape({"type": "object", "additionalProperties": value.schema} if value.schema else {"type": "object"})
    if name in ("PathLike", "SupportsAbs", "SupportsRound", "SupportsSum"):
        return _SIMPLE["StrPath"] if name == "PathLike" else _NUMBER
    if name == "Annotated":
        return shape_of(inner[0], module, owner, depth + 1)
    raise NoShape(ast.unparse(node))


def _tuple(inner: list[ast.expr], module: str, owner: str, depth: int) -> Shape:
    if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is Ellipsis:
        item = shape_of(inner[0], module, owner, depth + 1)
        return Shape({"type": "array", "items": item.schema}, f"list:{item.convert}" if item.convert else "tuple")
    items = [shape_of(each, module, owner, depth + 1) for each in inner]
    if any(item.convert for item in items):
        raise NoShape("tuple")
    kinds: list[dict[str, Any]] = []
    for item in items:
        if item.schema not in kinds:
            kinds.append(item.schema)
    schema: dict[str, Any] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return Shape({"type": "array", "items": schema, "minItems": len(items), "maxItems": len(items)}, "tuple")


def _union(options: list[ast.expr], module: str, owner: str, depth: int) -> Shape:
    """One of the options that JSON has: the plainest, a number rather than an integer; null stays an option."""
    shapes: list[Shape] = []
    for option in options:
        try:
            shapes.append(shape_of(option, module, owner, depth + 1))
        except NoShape:
            continue
    plain = [shape for shape in shapes if shape.schema != {"type": "null"}]
    if not plain:
        raise NoShape(" | ".join(map(ast.unparse, options)))
    if _ANY in plain:
        return _ANY
    return min(plain, key=_rank)


def _rank(shape: Shape) -> tuple[bool, int]:
    kind = shape.schema.get("type")
    return bool(shape.convert), _PREFERENCE.index(kind) if kind in _PREFERENCE else len(_PREFERENCE)
