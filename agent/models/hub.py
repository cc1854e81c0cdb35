"""Models from a model hub: pulled once, pinned to a revision, checked by hash; and the hub for who pushes to it."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from toolkit import durable_file
from toolkit.errors import PrerequisiteError, UserError
from toolkit.file_hash import file_sha256

PULLED = "pulled.json"
_WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", "LICENSE*", "*.md")
"""No code, and no form of weights that may run code."""

Say = Callable[[str], None]


def pull(repo: str, revision: str, data_folder: Path, say: Say) -> Path:
    """Download the model ``repo`` at ``revision`` ("": the newest) to data/models; return its folder.

    What an earlier call fetched of the same revision is not fetched again. Raises PrerequisiteError (the package, a
    network) and UserError (no such model, no permission, no safetensors, a file that is not what the hub says).
    """
    check_repo(repo)
    with opened(repo, revision) as api:
        info = api.model_info(repo, revision=revision or None, files_metadata=True)
        wanted = [file for file in info.siblings or () if _is_wanted(file.rfilename)]
        if not any(file.rfilename.endswith(".safetensors") for file in wanted):
            raise UserError(f"{repo} has no weights in safetensors; choose a repository that has them")
        target = data_folder / "models" / f"{repo.replace('/', '--')}@{info.sha[:12]}"
        if (target / PULLED).is_file():
            return target
        draft = target.with_name(f".{target.name}.part")
        _check_disk(wanted, draft, repo)
        for number, file in enumerate(wanted, 1):
            say(f"{file.rfilename} ({number} of {len(wanted)}, {(file.size or 0) / 2**20:.1f} MiB)")
            _fetch(repo, info.sha, file.rfilename, draft)
    _publish(repo, info.sha, wanted, draft, target)
    return target


def check_repo(repo: str) -> None:
    """Raise UserError where ``repo`` is not written as OWNER/NAME."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(f"{repo} is no repository; name it as OWNER/NAME, at a revision as OWNER/NAME@REVISION")


def pulled(data_folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder of each pulled model, and what ``pulled.json`` says: ``repo``, ``revision``, ``files``."""
    for file in sorted((data_folder / "models").glob(f"*/{PULLED}")):
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(file.read_bytes())
            if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in ("repo", "revision")):
                yield file.parent, found


def _is_wanted(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in _WANTED)


def _fetch(repo: str, revision: str, name: str, draft: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(repo, name, revision=revision, local_dir=draft)


def _check_disk(wanted: list[Any], draft: Path, repo: str) -> None:
    draft.mkdir(parents=True, exist_ok=True)
    needed = sum(file.size or 0 for file in wanted) - sum(
        file.stat().st_size for file in draft.glob("*") if file.is_file()
    )
    free = shutil.disk_usage(draft).free
    if free < needed:
        raise PrerequisiteError(f"{repo} needs {needed >> 20} MiB, {free >> 20} MiB are free; free some")


def _publish(repo: str, revision: str, wanted: list[Any], draft: Path, target: Path) -> None:
    """Check each file against the hub's hash, note all hashes, and put the folder in its place as a whole."""
    hashes = {}
    for file in wanted:
        hashes[file.rfilename] = file_sha256(draft / file.rfilename)
        expected = file.lfs.sha256 if file.lfs is not None else None
        if expected and hashes[file.rfilename] != expected:
            (draft / file.rfilename).unlink()
            raise UserError(f"{file.rfilename} of {repo} is not what the hub says; pull again, it is fetched anew")
    shutil.rmtree(draft / ".cache", ignore_errors=True)
    note = {"repo": repo, "revision": revision, "files": hashes}
    (draft / PULLED).write_text(json.dumps(note, indent=1), encoding="utf-8")
    durable_file.publish_folder(draft, target)


@contextlib.contextmanager
def opened(repo: str, revision: str = "", again: str = "pull again, what came is kept") -> Iterator[Any]:
    """Yield the hub's API; what goes wrong with it is one line. ``again``: what to do once the hub can be reached.

    Raises UserError and PrerequisiteError.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub import errors as hub_errors
    except ImportError:
        raise PrerequisiteError(
            "this needs the package huggingface-hub; install it: pip install 'apprentice-agent[hub]'"
        ) from None
    with _reaching(repo, again):
        try:
            yield HfApi()
        except hub_errors.HFValidationError as error:
            raise UserError(f"{repo} is no name of a repository ({_reason(error)}); name it as OWNER/NAME") from None
        except hub_errors.GatedRepoError:
            raise UserError(
                f"{repo} is gated: ask for access on its page, then set HF_TOKEN to a token of yours and pull again"
            ) from None
        except hub_errors.RevisionNotFoundError:
            raise UserError(f"{repo} has no revision {revision}; correct what stands behind the @") from None
        except hub_errors.RepositoryNotFoundError:
            raise UserError(f"the hub has no {repo}, or it is private; correct the name, or set HF_TOKEN") from None
        except hub_errors.LocalTokenNotFoundError:
            raise UserError("the hub asks for a token; set HF_TOKEN to one of yours") from None


@contextlib.contextmanager
def _reaching(repo: str, again: str) -> Iterator[None]:
    """Let a hub that is out of reach, or refuses, be one line."""
    from huggingface_hub import errors as hub_errors

    try:
        yield
    except (hub_errors.OfflineModeIsEnabled, hub_errors.LocalEntryNotFoundError):
        raise PrerequisiteError(
            f"the hub cannot be reached; check the network, and that HF_HUB_OFFLINE is not set; then {again}"
        ) from None
    except (hub_errors.HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not _of_network(error):
            raise
        if getattr(getattr(error, "response", None), "status_code", 0) in _REFUSALS:
            raise UserError(
                f"the hub refuses {repo} ({_reason(error)}); set HF_TOKEN to a token that may do it"
            ) from None
        raise PrerequisiteError(f"the hub cannot be reached ({_reason(error)}); {again}") from None
    except Exception as error:
        if not type(error).__module__.startswith(_HTTP_LIBRARIES):
            raise
        raise PrerequisiteError(f"the hub cannot be reached ({_reason(error)}); {again}") from None


_REFUSALS = (401, 403)
_HTTP_LIBRARIES = ("httpx", "httpcore", "requests")
"""HTTP libraries of huggingface_hub, depending on its version."""


def _of_network(error: OSError) -> bool:
    return isinstance(error, ConnectionError | TimeoutError)


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
