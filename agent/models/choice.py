"""The models of a data folder, and the change from one to another.

Adapters belong to the model that they were trained on. Which one was active is kept for each model, so that going back
to a model goes back to its adapter; folders, ledger and lessons of all models stay.
"""

import json
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import active, package, required, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter, Change
from agent.config import Config
from agent.errors import AdapterError, AdapterInvalid
from agent.models import default_model, hub, packaged
from agent.models.detect import profile_of
from agent.models.packaged import PACKAGED
from agent.storage.database_server import server_of
from agent.turn.messages import BASE
from toolkit import durable_file
from toolkit.errors import UserError

_REMEMBERED = "active_adapters.json"
_TABLE = re.compile(r"^\s*\[\s*agent\s*\.\s*serving\s*\]\s*(#.*)?$")
_ANY_TABLE = re.compile(r"^\s*\[")
_MODEL = re.compile(r"^(\s*model\s*=\s*)(\"[^\"]*\"|'[^']*')(.*)$")


@dataclass(frozen=True)
class Listed:
    """A model that can be used by ``name``; ``state`` says what there is of it."""

    name: str
    state: str
    about: str
    used: bool


def listed(config: Config) -> list[Listed]:
    """Return the packaged models, those pulled, and the one in use."""
    used, data = config.agent.serving.model, config.data_folder
    found = []
    for model in PACKAGED.values():
        ready = default_model.present(model.name, data) is not None
        found.append(Listed(model.name, "prepared" if ready else "not prepared", model.about, model.name == used))
    for folder, pulled in hub.pulled(data):
        found.append(
            Listed(folder.name, "pulled", f"{pulled['repo']} at {pulled['revision'][:12]}", folder.name == used)
        )
    if used not in {model.name for model in found}:
        there = default_model.present(used, data) is not None
        found.append(Listed(used, "a folder" if there else "missing", "named in config.toml", used=True))
    return found


def use(config: Config, file: Path, name: str, *, accept_license: bool = False) -> str:
    """Let ``[agent.serving] model`` in ``file`` be ``name``, and its adapter the active one; return that adapter.

    Raises UserError where there is no such model, its terms were not accepted, or it cannot be spoken to.
    """
    data, before = config.data_folder, config.agent.serving.model
    name = named(name, data)
    if name in PACKAGED:
        if accept_license:
            packaged.accept(PACKAGED[name], data)
        packaged.check_terms(PACKAGED[name], data)
    else:
        profile_of(default_model.check(default_model.located(name, data)), config.agent.serving.profile)
    _write_model(file, name)
    return _switch_adapter(data, before, name)


def named(name: str, data_folder: Path) -> str:
    """Return the name of a model as ``[agent.serving] model`` has it. A pulled one may be called by its name, its
    repository or its folder.

    Raises UserError where there is no such model, or several revisions of it.
    """
    if name in PACKAGED:
        return name
    path = Path(name).expanduser().resolve()
    found = [
        folder.name
        for folder, pulled in hub.pulled(data_folder)
        if name in (folder.name, pulled["repo"]) or path == folder.resolve()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{name} was pulled at several revisions; choose one of: {', '.join(found)}")
    if not path.is_dir():
        raise UserError(f"there is no model {name}; see: agent models list; or get it with: agent models pull {name}")
    return str(path)


def overrides(config: Config) -> list[str]:
    """Return the keys of ``[agent.serving.profile]`` that are set: they hold for whatever model is served."""
    given = config.agent.serving.profile
    return [key for key, value in given if value != type(given).model_fields[key].default]


def _switch_adapter(data_folder: Path, before: str, name: str) -> str:
    """Remember the adapters that are active for ``before``, and activate those that were active for ``name``; return
    the one that serves everybody. A damaged pointer of a tenant stays as it is."""
    if before == name:
        return active.read(data_folder).name
    everybodys = _switch_pointer(data_folder, before, name)
    for tenant in active.tenants(data_folder):
        with suppress(AdapterError):
            _switch_pointer(data_folder, before, name, tenant)
    return everybodys


def _switch_pointer(data_folder: Path, before: str, name: str, tenant: str = "") -> str:
    pointer, first = active.read(data_folder, tenant), SHARED if tenant else BASE
    file = data_folder / "models" / _REMEMBERED
    remembered, suffix = _remembered(file), f" ({tenant})" if tenant else ""
    remembered[before + suffix] = {"name": pointer.name, "sha256": pointer.sha256}
    file.parent.mkdir(parents=True, exist_ok=True)
    durable_file.replace(file, json.dumps(remembered, indent=1).encode())
    known = remembered.get(name + suffix) or {}
    target, sha256 = known.get("name", first), known.get("sha256", "")
    url = server_of(data_folder)
    if target not in (BASE, SHARED) and not _whole(package.folder_of(data_folder, target), sha256, url):
        target, sha256 = first, ""
    if tenant and sha256 and not url:
        required.add(data_folder, target, sha256)  # servers of the other model could not load it
    if (target, sha256) == (pointer.name, pointer.sha256):
        return target
    serial = pointer.change.serial + 1 if pointer.change else 1
    change = Change(serial=serial, previous=pointer.name, reason=f"the model {name} is used", by="person")
    active.write(data_folder, ActiveAdapter(name=target, sha256=sha256, change=change), tenant=tenant)
    return target


def _whole(folder: Path, sha256: str, url: str) -> bool:
    """Return whether an adapter is here; where there is a database at ``url``, store it there for other machines."""
    if not (folder / package.MANIFEST).is_file() or package.manifest_sha256(folder) != sha256:
        return False
    if url:
        try:
            package.check_adapter(folder, sha256=sha256)
        except AdapterInvalid:
            return False
        shared_pointer.store_files(url, folder, sha256)
    return True


def _remembered(file: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {
        model: entry for model, entry in known if isinstance(entry, dict) and set(map(type, entry.values())) == {str}
    }


def _write_model(file: Path, name: str) -> None:
    """Change one line of ``file``. Raises UserError where that would change anything else."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    made = _with_model(text, json.dumps(name))
    expected = tomllib.loads(text)
    expected.setdefault("agent", {}).setdefault("serving", {})["model"] = name
    if not _reads(made, expected):
        raise UserError(f'{file} cannot be changed without harm; write model = "{name}" below [agent.serving] yourself')
    durable_file.replace(file, made.encode())


def _reads(text: str, expected: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        return False


def _with_model(text: str, value: str) -> str:
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if _TABLE.match(line)), None)
    if start is None:
        return "\n".join([*lines, *([""] if lines else []), "[agent.serving]", f"model = {value}", ""])
    end = next((n for n in range(start + 1, len(lines)) if _ANY_TABLE.match(lines[n])), len(lines))
    for n in range(start + 1, end):
        if found := _MODEL.match(lines[n]):
            lines[n] = f"{found[1]}{value}{found[3]}"
            return "\n".join([*lines, ""])
    lines.insert(start + 1, f"model = {value}")
    return "\n".join([*lines, ""])
