"""The card of an adapter on a model hub: its README.md, made from what the manifest and the ledger say. Pure."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.adapters.manifest import Manifest
from agent.models import hub
from agent.models.packaged import PACKAGED, Terms
from agent.turn.messages import BASE
from evolver.release.learned import Learned
from evolver.store.ledger_rows import Evaluation

_LICENSE = re.compile(r"^license:\s*[\"']?([\w.-]+)", re.MULTILINE)
_RATES = ("call_accuracy", "tool_selection_accuracy", "irrelevance_accuracy", "invalid_call_rate")
_MOST_TOOLS = 50


@dataclass(frozen=True)
class BaseTerms:
    """The model that an adapter belongs to. ``repo`` on the hub ("": not known), ``license`` as the hub calls it."""

    name: str
    repo: str = ""
    license: str = ""
    terms: Terms | None = None


def base_terms(model: str, folder: Path) -> BaseTerms:
    """Return source and license of ``[agent.serving] model``, as far as its ``folder`` tells."""
    if (packaged := PACKAGED.get(model)) is not None:
        return BaseTerms(name=packaged.folder, repo=packaged.repo, license=packaged.license, terms=packaged.terms)
    card = folder / "README.md"
    found = _LICENSE.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    repo = next((str(said["repo"]) for place, said in hub.pulled(folder.parent.parent) if place == folder), "")
    return BaseTerms(name=folder.name, repo=repo, license=found[1] if found else "")


def card(
    manifest: Manifest,
    base: BaseTerms,
    taught: Learned,
    scores: Sequence[Evaluation],
    read_me: str,
    form: Literal["peft", "merged", "gguf"],
) -> str:
    """Return the card. ``scores``: of the adapter and of the base model; ``read_me``: how it is served."""
    parts = [
        _front(base, form),
        read_me.rstrip(),
        _made(manifest, taught),
        _tools(taught),
        _scores(manifest.name, scores),
        _license(base),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(base: BaseTerms, form: str) -> str:
    library = {"peft": "peft", "merged": "transformers", "gguf": "gguf"}[form]
    said = {"base_model": base.repo, "license": base.license or "other", "library_name": library}
    lines = [f"{key}: {json.dumps(value)}" for key, value in said.items() if value]
    return "\n".join(["---", *lines, 'tags: ["apprentice", "tool-calling"]', "---"])


def _made(manifest: Manifest, taught: Learned) -> str:
    metrics, of = manifest.metrics, manifest.hyper_parameters
    valid = "" if metrics.loss_valid is None else f", {metrics.loss_valid:.3f} on lessons that it had not seen"
    made = time.strftime("%d %B %Y", time.gmtime(manifest.created_at))
    logged = f" {taught.logged} of them come from logged turns of people." if taught.logged else ""
    return f"""## How it was made
apprentice made it on {made} by self-evolution: the model wrote its own lessons, each was checked, and a LoRA of rank
{of.get("rank")} was trained on them. No stronger model and no labels were used.

{metrics.lessons} lessons, {metrics.epochs_done:.1f} epochs, {metrics.steps} steps. Loss per token:
{metrics.loss_first:.3f} at the beginning, {metrics.loss_last:.3f} at the end{valid}.{logged}"""


def _tools(taught: Learned) -> str:
    if not taught.tools:
        return ""
    named = [f"`{name}` ({count})" for name, count in list(taught.tools.items())[:_MOST_TOOLS]]
    more = f", and {len(taught.tools) - _MOST_TOOLS} more" if len(taught.tools) > _MOST_TOOLS else ""
    return f"## Tools that it learned\nWith the number of lessons that call each: {', '.join(named)}{more}."


def _scores(name: str, scores: Sequence[Evaluation]) -> str:
    """A row per suite and rate, where the adapter was measured; beside it the base model on the same requests."""
    newest: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in scores:  # the newest first
        if one.suite_sha256:  # without one they are rates of what people asked: other requests for each model
            newest.setdefault((one.model, one.suite, one.suite_sha256), one.scores)
    rows = [
        _row(suite, rate, newest.get((BASE, suite, sha256), {}).get(rate), found[rate])
        for (model, suite, sha256), found in newest.items()
        for rate in _RATES
        if model == name and rate in found
    ]
    if not rows:
        return ""
    return "\n".join(
        ["## Scores", "| suite | score | base model | with the adapter |", "| --- | --- | --- | --- |", *rows]
    )


def _row(suite: str, rate: str, base: dict[str, Any] | None, found: dict[str, Any]) -> str:
    """Return a line of the table. The base model's rate is shown where it counts as many requests: a suite may be asked
    in part."""
    beside = base if base and base.get("n") == found.get("n") else None
    return f"| {suite} | {rate.replace('_', ' ')} | {_rate(beside)} | {_rate(found)} |"


def _rate(found: dict[str, Any] | None) -> str:
    return f"{found['hits']} of {found['n']}" if found and found.get("n") else "not measured"


def _license(base: BaseTerms) -> str:
    if base.terms is not None:
        under = f"is under {base.terms.name}: {base.terms.url}"
        return f"## License\nThe base model, {base.name}, {under}. They hold for this too."
    if base.license:
        return f"## License\nThat of the base model, {base.name}: {base.license}."
    return f"## License\nThat of the base model, {base.name}; its folder does not say which."
