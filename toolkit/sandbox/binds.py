"""Host paths that a worker may see, all read-only: the interpreter, system libraries, the tool modules."""

import importlib.machinery
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from toolkit.errors import ConfigError

PACKAGE_FOLDER = "/opt/package"
MODULE_FOLDER = "/opt/modules"
SITE_FOLDER = "/opt/installed"
_LIBRARY_FOLDERS = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
_SINGLE_FILES = ("/etc/ld.so.cache", "/usr/share/zoneinfo")
_PACKAGE = Path(__file__).resolve().parent.parent
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def interpreter() -> Path:
    """Return the real executable behind ``sys.executable``, outside any virtual environment."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Path(base).resolve()


def import_path(*, packages: bool) -> list[str]:
    """Return ``sys.path`` inside: this package, the users' modules, the standard library, the installed
    ``packages``."""
    installed = _installed().values() if packages else ()
    return [PACKAGE_FOLDER, MODULE_FOLDER, *map(str, _standard_library()), *installed]


def _standard_library() -> list[Path]:
    prefix = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    paths = [sysconfig.get_path(name, vars=prefix) for name in ("stdlib", "platstdlib")]
    paths.append(sysconfig.get_config_var("DESTSHARED"))
    return [Path(path) for path in dict.fromkeys(paths) if path and Path(path).is_dir()]


def _installed() -> dict[Path, str]:
    """site-packages folder -> where it is inside: apart, so that a virtual environment may lie anywhere."""
    paths = dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
    return {path: f"{SITE_FOLDER}/{index}" for index, path in enumerate(path for path in paths if path.is_dir())}


def bind_arguments(modules: Iterable[str], snapshot: Path, folder: Path, *, packages: bool) -> list[str]:
    """Return bwrap's arguments for the file system, with the installed ``packages`` or without. Users' modules, of
    ``folder`` or installed, are copied into ``snapshot`` and bound from there, so that every worker of a sandbox runs
    the same code. Raises ConfigError for a module that cannot be found."""
    arguments = ["--proc", "/proc", "--dir", "/dev", "--dir", "/scratch"]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    for library in _LIBRARY_FOLDERS:
        arguments += _library(library)
    for file in _SINGLE_FILES:
        arguments += ["--ro-bind-try", file, file]
    program = interpreter()
    own = [*_standard_library(), Path(sys.base_prefix) / "lib", program]
    for path in sorted(set(own)):
        if path.exists() and not _covered(path):
            arguments += ["--ro-bind", str(path), str(path)]
    for path, target in _installed().items() if packages else ():
        arguments += ["--ro-bind", str(path), target]
    links = {"/workspace": "/scratch/workspace"}
    if not any(path.is_relative_to("/tmp") for path in own):
        links["/tmp"] = "/scratch/tmp"
    for link, target in links.items():
        arguments += ["--symlink", target, link]
    arguments += package_bind()
    for top in dict.fromkeys(name.partition(".")[0] for name in modules):
        arguments += _module(top, snapshot, folder)
    return [*bwrap_parents(arguments), *arguments, "--remount-ro", "/"]


def package_bind() -> list[str]:
    """Return bwrap's arguments for this package, whose own code runs inside too."""
    return ["--ro-bind", str(_PACKAGE), f"{PACKAGE_FOLDER}/{_PACKAGE.name}"]


def bwrap_parents(arguments: list[str]) -> list[str]:
    """Return ``--dir`` for the folders above all binds: bwrap would make them 0700, unreadable in a call."""
    targets = [
        Path(target) for flag, target in zip(arguments, arguments[2:], strict=False) if flag.startswith("--ro-bind")
    ]
    parents = {parent for target in targets for parent in target.parents if not _covered(parent)}
    return [part for parent in sorted(parents)[1:] for part in ("--perms", "0755", "--dir", str(parent))]


def _library(folder: str) -> list[str]:
    path = Path(folder)
    if path.is_symlink():
        return ["--symlink", os.readlink(path), folder]  # noqa: PTH115 - bwrap wants the link's own text
    return ["--ro-bind", folder, folder] if path.is_dir() else []


def _covered(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _LIBRARY_FOLDERS)


def source_of(top: str, folder: Path) -> Path | None:
    """Return the file, or the package folder, of a top-level module that is looked for in ``folder`` first.

    None for this package and the standard library. Raises ConfigError where there is none.
    """
    if top == _PACKAGE.name or top in sys.stdlib_module_names:
        return None
    spec = importlib.machinery.PathFinder.find_spec(top, [str(folder.absolute()), *sys.path])
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ConfigError(f"toolkit.tools: no module named {top}; put {top}.py beside config.toml or install it")
    locations = spec.submodule_search_locations
    return Path(next(iter(locations)) if locations else str(spec.origin)).resolve()


def is_installed(source: Path) -> bool:
    """Return whether ``source`` is part of the standard library or in site-packages, which workers see whole."""
    return any(source.is_relative_to(path) for path in (*_standard_library(), *_installed()))


def _module(top: str, snapshot: Path, folder: Path) -> list[str]:
    source = source_of(top, folder)
    if source is None or is_installed(source):
        return []
    is_package = source.is_dir()
    copy = snapshot / (top if is_package else f"{top}{source.suffix}")
    if is_package:
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".git"), symlinks=True)
    else:
        shutil.copyfile(source, copy)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return ["--ro-bind", str(copy), f"{MODULE_FOLDER}/{copy.name}"]
