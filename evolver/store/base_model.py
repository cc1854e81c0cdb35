"""Hash of the configured base model. Gigabytes are hashed once: the ledger remembers the hash with the sizes
and times of the files, for each machine, so that going back stays quick."""

import json
import platform
from pathlib import Path

from agent.adapters.package import model_files, model_sha256
from agent.models import default_model
from evolver.config import Config
from evolver.store.ledger import Ledger
from toolkit.errors import UserError

_SETTING = "base_model"


def configured_sha256(config: Config, ledger: Ledger) -> str | None:
    """Return the hash of the model that ``[agent.serving] model`` names (``model_sha256``); None while it is not on
    disk: then nothing serves it."""
    folder = default_model.present(config.agent.serving.model, config.data_folder)
    return None if folder is None else sha256(folder, ledger)


def check_trainable(config: Config) -> None:
    """Raise UserError where the weights of the configured model are quantised: no adapter can be trained on them."""
    folder = default_model.present(config.agent.serving.model, config.data_folder)
    found = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    if quantised := found.get("quantization_config"):
        raise UserError(
            f"{folder} holds quantised weights ({quantised.get('quant_method', 'of unknown method')}), which cannot be "
            "trained on; set [agent.serving] model to the folder of the same model in bfloat16"
        )


def stamp(config: Config) -> list[tuple[str, int, int]]:
    """Return a stamp that changes with the base model: name, size and time (nanoseconds) of each file.

    Empty while the model is not on disk.
    """
    folder = default_model.present(config.agent.serving.model, config.data_folder)
    return [] if folder is None else [(Path(str(path)).name, int(size), int(at)) for path, size, at in _files(folder)]


def sha256(folder: Path, ledger: Ledger) -> str:
    """Return ``model_sha256``, computed again only where a file has another size or time. Raises OSError."""
    files = _files(folder)
    setting = f"{_SETTING} {platform.node()}"
    known = ledger.setting(setting)
    if known:
        before = json.loads(known)
        if before["files"] == files:
            return before["sha256"]
    found = model_sha256(folder)
    ledger.put_setting(setting, json.dumps({"files": files, "sha256": found}))
    return found


def _files(folder: Path) -> list[list[str | int]]:
    """Return path, size and time of writing (nanoseconds) of each file: they change with the file."""
    paths = sorted(path.resolve() for path in model_files(folder))
    return [[str(path), (found := path.stat()).st_size, found.st_mtime_ns] for path in paths]
