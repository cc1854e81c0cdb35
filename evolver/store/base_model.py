"""Which base model is configured, by its hash. Gigabytes are hashed once: the ledger remembers the hash with the sizes
and times of the files, so that going back stays quick."""

import json
from pathlib import Path

from agent.serving import default_model
from agent.serving.adapter_folder import model_files, model_sha256
from evolver.config import Config
from evolver.ledger import Ledger

_SETTING = "base_model"


def configured_sha256(config: Config, ledger: Ledger) -> str | None:
    """The hash of the model that ``[agent.serving] model`` names (``model_sha256``); None while it is not on disk: then
    nothing serves it."""
    model = config.agent.serving.model
    default = config.data_folder / "models" / default_model.NAME
    folder = default if model == "default" else Path(model).expanduser()
    there = default_model.is_complete(folder) if model == "default" else (folder / "config.json").is_file()
    return sha256(folder, ledger) if there else None


def sha256(folder: Path, ledger: Ledger) -> str:
    """As ``model_sha256``, computed again only where a file has another size or time. Raises OSError."""
    files = _files(folder)
    known = ledger.setting(_SETTING)
    if known:
        before = json.loads(known)
        if before["files"] == files:
            return before["sha256"]
    found = model_sha256(folder)
    ledger.put_setting(_SETTING, json.dumps({"files": files, "sha256": found}))
    return found


def _files(folder: Path) -> list[list[str | int]]:
    """What tells a changed file without reading it: path, size, and when it was written (nanoseconds)."""
    paths = sorted(path.resolve() for path in model_files(folder))
    return [[str(path), (found := path.stat()).st_size, found.st_mtime_ns] for path in paths]
