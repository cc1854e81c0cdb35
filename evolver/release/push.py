"""An adapter pushed to a repository of a model hub, private unless told otherwise."""

import tempfile
from pathlib import Path
from typing import Any

from agent.adapters import package
from agent.models import default_model, hub
from agent.turn.messages import BASE
from evolver.config import Config
from evolver.release.export import Format, export
from evolver.release.learned import Learned, learned
from evolver.release.model_card import base_terms, card
from evolver.store.ledger import Ledger
from toolkit.errors import UserError

_AGAIN = "push again"


def push(
    config: Config,
    ledger: Ledger,
    name: str,
    repo: str,
    form: Format = "peft",
    *,
    public: bool = False,
    with_logged_turns: bool = False,
) -> str:
    """Push the adapter ``name`` in the ``form`` of an export, with a card, to ``repo``; return the address of it.

    The repository is made where there is none, private unless ``public``. Raises PrerequisiteError (a package, a
    network) and UserError (people's turns are in the lessons, no token, a repository that is public) before anything
    is sent, and as ``export``.
    """
    hub.check_repo(repo)
    folder = package.folder_of(config.data_folder, name)
    if not folder.is_dir():
        raise UserError(f"there is no adapter {name}; see: evolver adapters")
    taught = learned(config.data_folder, ledger, name)
    if not with_logged_turns:
        _check_turns(name, taught, package.read_manifest(folder).tenants)
    with hub.opened(repo, again=_AGAIN) as api:
        api.whoami()
    with tempfile.TemporaryDirectory(prefix="apprentice-push-") as temporary:
        written = export(config, name, form, Path(temporary) / name)
        _write_card(config, ledger, written, taught, form)
        with hub.opened(repo, again=_AGAIN) as api:
            return _send(api, repo, written, name, public=public)


def _check_turns(name: str, taught: Learned, tenants: dict[str, int]) -> None:
    """Raise UserError where people's turns are in the lessons, or where nobody can tell."""
    anyway = "if you may publish that, push with --with-logged-turns"
    if tenants:
        named = ", ".join(f"{tenant or '(none)'} {count}" for tenant, count in sorted(tenants.items()))
        raise UserError(f"{name} learned from logged turns of tenants ({named}); {anyway}")
    if taught.logged:
        raise UserError(f"{name} learned {taught.logged} of {taught.lessons} lessons from logged turns; {anyway}")
    if taught.unknown:
        gone = ", ".join(taught.unknown)
        raise UserError(
            f"the lessons of {gone} are not on disk as learned, so nobody can tell whose they were; {anyway}"
        )


def _write_card(config: Config, ledger: Ledger, written: Path, taught: Learned, form: Format) -> None:
    serving = config.agent.serving
    model = default_model.present(serving.model, config.data_folder)
    assert model is not None  # export has found it
    manifest = package.read_manifest(written)
    scores = [*ledger.evaluations(manifest.name), *ledger.evaluations(BASE)]
    read_me = written / "README.md"
    text = card(manifest, base_terms(serving.model, model), taught, scores, read_me.read_text(encoding="utf-8"), form)
    read_me.write_text(text, encoding="utf-8")


def _send(api: Any, repo: str, written: Path, name: str, *, public: bool) -> str:
    made = api.create_repo(repo, private=not public, exist_ok=True)
    if not public and not api.model_info(repo).private:
        raise UserError(f"{repo} is public; push with --public, or to another repository")
    api.upload_folder(repo_id=repo, folder_path=written, commit_message=f"{name} of apprentice")
    return str(made)
