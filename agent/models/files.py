"""The files of a transformers model that say how it is spoken to, read without transformers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from toolkit.json_texts import texts

T = TypeVar("T", dict[str, Any], list[Any])
_NAMED = ("tool_use", "default")
"""Names of the template for tools and of the one without, where a model has several."""


@dataclass(frozen=True)
class ModelFiles:
    """``template`` is the model's own chat template, None where it has none; ``plain`` is that for conversations
    without tools, None where one is for both.

    ``tokens`` maps its added tokens to ids, ``special`` its special tokens by role (``bos_token``). ``eos_ids`` end an
    answer, ``sampling`` are the defaults of generation_config.json. ``adds_bos`` and ``prefix_space``: what the
    tokenizer does to a bare text.
    """

    template: str | None
    plain: str | None
    tokens: dict[str, int]
    special: dict[str, str]
    eos_ids: tuple[int, ...]
    sampling: dict[str, Any]
    adds_bos: bool
    prefix_space: bool


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in ``file``; {} where there is no such file. Raises OSError and ValueError."""
    if not file.is_file():
        return {}
    value = json.loads(file.read_bytes())
    if isinstance(value, dict):
        return value
    raise ValueError(f"{file} holds no JSON object")


def typed(values: dict[str, Any], name: str, kind: type[T]) -> T:
    """Return the value of ``name``, or an empty ``kind``. Raises ValueError if it has another type."""
    value = values.get(name) or kind()
    if isinstance(value, kind):
        return value
    raise ValueError(f"{name} is no {'list' if kind is list else 'object'}")


def read(folder: Path) -> ModelFiles:
    """Read the files of the model in ``folder``. Raises OSError and ValueError."""
    names = ("tokenizer_config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json", "config.json")
    found = [folder / name for name in names if (folder / name).is_file()]
    return _read(folder, tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in found))


@lru_cache(maxsize=4)
def _read(folder: Path, _stamp: tuple[tuple[str, int, int], ...]) -> ModelFiles:
    settings = read_json(folder / "special_tokens_map.json") | read_json(folder / "tokenizer_config.json")
    tokenizer = read_json(folder / "tokenizer.json")
    generation = read_json(folder / "generation_config.json")
    special = {name: text for name, value in settings.items() if name.endswith("_token") and (text := _text(value))}
    tokens = dict(_added(tokenizer, settings))
    eos = [generation.get("eos_token_id"), read_json(folder / "config.json").get("eos_token_id")]
    ids = [number for value in eos for number in (value if isinstance(value, list) else [value])]
    ids.append(tokens.get(special.get("eos_token", "")))
    bos = special.get("bos_token", "")
    template, plain = _templates(folder, settings)
    return ModelFiles(
        template=template,
        plain=plain,
        tokens=tokens,
        special=special,
        eos_ids=tuple(sorted({number for number in ids if isinstance(number, int)})),
        sampling={name: generation[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
                  if generation.get(name) is not None},
        adds_bos=bool(bos) and _adds(bos, tokenizer, settings),
        prefix_space=_prefix_space(tokenizer),
    )  # fmt: skip


def _templates(folder: Path, settings: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the chat template, and the one for conversations without tools where it is another one."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8"), None
    given = read_json(folder / "chat_template.json").get("chat_template") or settings.get("chat_template")
    if not isinstance(given, list):
        return _written(given), None
    named = {str(entry.get("name")): _written(entry.get("template")) for entry in given if isinstance(entry, dict)}
    for_tools, plain = (named.get(name) for name in _NAMED)
    return (for_tools, plain) if for_tools else (plain, None)


def _written(template: Any) -> str | None:
    return template if isinstance(template, str) and template.strip() else None


def _added(tokenizer: dict[str, Any], settings: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for number, token in typed(settings, "added_tokens_decoder", dict).items():
        if isinstance(token, dict) and str(number).isdigit() and (text := _text(token)):
            yield text, int(number)
    for token in typed(tokenizer, "added_tokens", list):
        if isinstance(token, dict) and isinstance(token.get("id"), int) and (text := _text(token)):
            yield text, token["id"]


def _text(value: Any) -> str:
    """Return the text of a token, which is written as one or as an object with its ``content``."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _adds(bos: str, tokenizer: dict[str, Any], settings: dict[str, Any]) -> bool:
    """The tokenizer's own last step says it; where that is not written down, its settings do."""
    step = tokenizer.get("post_processor")
    return bos in list(texts(step)) if step else bool(settings.get("add_bos_token"))


def _prefix_space(tokenizer: dict[str, Any]) -> bool:
    steps = [typed(tokenizer, "normalizer", dict), typed(tokenizer, "pre_tokenizer", dict)]
    every = [step for outer in steps for step in (outer, *_inner(outer)) if isinstance(step, dict)]
    return any(
        step.get("type") == "Prepend"
        or (step.get("type") == "ByteLevel" and step.get("add_prefix_space"))
        or (step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never")
        for step in every
    )


def _inner(step: dict[str, Any]) -> list[Any]:
    return [*typed(step, "normalizers", list), *typed(step, "pretokenizers", list)]
