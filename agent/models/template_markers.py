"""Texts that a model reads as structure (``<|im_end|>``, ``[INST]``, ``<start_of_turn>``), kept out of other texts.

A marker in a request ends the client's own turn and begins another one, a system's, say. ``Markers.literal`` replaces
the first character of each marker by a look-alike: the text stays readable, and no tokenizer finds the marker. The
gateway does this to every chat request, the trainer to every lesson, with the same markers: what is served is what is
trained. The markers come from the tokenizer and the chat template of the model that is served.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import Any

from agent.config import ServingConfig
from agent.models.detect import profile_of
from agent.models.files import read_json, typed
from agent.turn.prompt import TEMPLATE
from toolkit import json_texts
from toolkit.errors import UserError
from toolkit.json_texts import with_texts

_LOOK_ALIKES = {"<": "\u2039", "[": "\u27e6", "{": "\u2983", "|": "\u2223"}
_SPLIT = "\u00b7"
"""Put behind the first character of a marker that begins with no bracket."""

_MARKER = re.compile(r"(?=.*[A-Za-z])(?=.*[<>\[\]{}|\uff5c]).{3,200}", re.DOTALL)
"""Form of a marker. Ordinary text must not change, although tokenizers may call any text special: ``!`` is the padding
of some."""
_IN_TEMPLATE = re.compile(r"</?[^\s<>{}'\"()=,;]{1,80}>|<</?SYS>>|\[/?[A-Z][A-Z_]{2,40}\]")
_BARRED = re.compile(r"<[|\uff5c].*[|\uff5c]>", re.DOTALL)

_FAMILIES = """
<|im_start|> <|im_end|> <|im_sep|> <|endoftext|> <|startoftext|> <|endofprompt|>
<|begin_of_text|> <|end_of_text|> <|eot_id|> <|eom_id|> <|start_header_id|> <|end_header_id|> <|python_tag|>
<|header_start|> <|header_end|> <|eot|> <|eom|> <<SYS>> <</SYS>>
<|system|> <|user|> <|assistant|> <|tool|> <|end|> <|observation|> <|tool_call|> <|tool_response|>
<|start|> <|message|> <|channel|> <|call|> <|return|> <|constrain|> <|start_of_role|> <|end_of_role|>
<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|SYSTEM_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|>
<|START_ACTION|> <|END_ACTION|> <|START_TOOL_RESULT|> <|END_TOOL_RESULT|>
<｜begin▁of▁sentence｜> <｜end▁of▁sentence｜> <｜User｜> <｜Assistant｜>
<｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁sep｜>
<｜tool▁call▁begin｜> <｜tool▁call▁end｜>
<｜tool▁outputs▁begin｜> <｜tool▁outputs▁end｜>
<start_of_turn> <end_of_turn> <bos> <eos> <s> </s> [INST] [/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]
[AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CONTENT] [ARGS] [CALL_ID]
<tools> </tools> <tool_call> </tool_call> <tool_response> </tool_response> <think> </think>
"""
KNOWN = frozenset(_FAMILIES.split())
"""Markers of common model families, for models that are not on this machine."""

_CALL_TAGS = frozenset(("<tool_call>", "</tool_call>"))
_ALLOWED = ("enum", "const")
"""Keywords of a JSON schema whose values a call repeats as they are."""


class Markers:
    """The markers of one model. ``texts`` empty: every text is passed on as it is."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = frozenset(text for text in texts if _MARKER.fullmatch(text))
        self._begins = re.compile("|".join(_beginnings(self.texts))) if self.texts else None

    def literal(self, text: str) -> str:
        """Return ``text`` with the first character of every marker in it replaced by a look-alike."""
        return self._begins.sub(_look_alike, text) if self._begins else text

    def found(self, text: str) -> bool:
        """Return whether ``text`` contains a marker."""
        return self.literal(text) != text

    def literal_json(self, value: Any) -> Any:
        """Return a JSON value with every string and key made literal; a call's ``arguments``, which are JSON in a
        string, as the value that they stand for."""

        def arguments(key: str, item: Any) -> str | None:
            return self._arguments(item) if key == "arguments" and isinstance(item, str) else None

        return with_texts(value, self.literal, keys=self.literal, named=arguments)

    def literal_tools(self, tools: Any) -> Any:
        """Return the tools of a request made literal; what a call must repeat exactly keeps the tags of calls.

        These begin no turn, and the grammar holds a call to its tool as it is shown.
        """
        exact = self._begin_turns.literal

        def repeated(key: str, item: Any) -> Any:
            if key in _ALLOWED:
                return with_texts(item, exact, keys=exact)
            return exact(item) if key == "name" and isinstance(item, str) else None

        return with_texts(tools, self.literal, keys=exact, named=repeated)

    def unrepeatable(self, tools: Any) -> str:
        """Return the place in ``tools`` of a marker that ``literal_tools`` replaces and a call would have to repeat
        exactly: in a name, a parameter's name or an allowed value; "" where there is none."""
        found = self._begin_turns.found
        for number, tool in enumerate(tools if isinstance(tools, list) else ()):
            function = tool.get("function") if isinstance(tool, dict) else None
            if isinstance(function, dict):
                place = f"tools[{number}].function"
                if isinstance(name := function.get("name"), str) and found(name):
                    return f"{place}.name"
                for where, text in _exact_texts(function.get("parameters"), f"{place}.parameters"):
                    if found(text):
                        return where
        return ""

    @cached_property
    def _begin_turns(self) -> "Markers":
        return Markers(self.texts - _CALL_TAGS)

    def _arguments(self, text: str) -> str:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.literal(text)
        changed = self.literal_json(value)
        return text if changed == value else json.dumps(changed, ensure_ascii=False)


NO_MARKERS = Markers()


def configured_markers(serving: ServingConfig, model_folder: Path | None) -> Markers:
    """Return the markers that requests and lessons are kept free of: those of the model in ``model_folder``, and those
    of every known family where that is None or another server's model may differ.

    Raises UserError where a file of the model's tokenizer cannot be read.
    """
    if serving.literal_markers:
        return NO_MARKERS
    texts = set(_template_markers(TEMPLATE.read_text(encoding="utf-8")))
    if model_folder is not None:
        with suppress(UserError):  # the model is refused where it is started
            profile = profile_of(model_folder, serving.profile)
            texts |= {*_template_markers(profile.template), *profile.tokens()}
    if model_folder is None or serving.upstreams:
        texts |= KNOWN
    if model_folder is not None:
        try:
            texts |= _model_markers(model_folder)
        except (OSError, ValueError) as error:
            raise UserError(f"the tokenizer in {model_folder} cannot be read: {error}; save it again") from error
    return Markers(texts)


def _look_alike(found: re.Match[str]) -> str:
    return _LOOK_ALIKES.get(found[0], found[0] + _SPLIT)


def _beginnings(texts: Iterable[str]) -> Iterator[str]:
    """Patterns for the first character of each text, where the rest of one follows."""
    rests: dict[str, set[str]] = {}
    for text in texts:
        rests.setdefault(text[0], set()).add(text[1:])
    for first, several in sorted(rests.items()):
        yield f"{re.escape(first)}(?={_any_of(several)})"


def _any_of(texts: set[str]) -> str:
    """A pattern for one of ``texts``, which looks at each character once, however many they are."""
    shared = commonprefix(list(texts))  # noqa: RUF071 - characters are meant, not folders
    rests: dict[str, set[str]] = {}
    for text in texts:
        if len(text) == len(shared):
            return re.escape(shared)  # what goes on from there begins with it, too
        rests.setdefault(text[len(shared)], set()).add(text[len(shared) :])
    return f"{re.escape(shared)}(?:{'|'.join(_any_of(several) for _, several in sorted(rests.items()))})"


def _model_markers(folder: Path) -> set[str]:
    """The special tokens of a transformers model's tokenizer, and the markers that its chat templates write."""
    settings = read_json(folder / "tokenizer_config.json")
    texts = set(_special_tokens(settings))
    texts |= set(_special_tokens(read_json(folder / "special_tokens_map.json")))
    texts |= set(_added_tokens(read_json(folder / "tokenizer.json").get("added_tokens")))
    texts |= set(_added_tokens(list(typed(settings, "added_tokens_decoder", dict).values())))
    texts |= {text for text in read_json(folder / "added_tokens.json") if _BARRED.fullmatch(text)}
    texts |= set(_tekken_tokens(read_json(folder / "tekken.json")))
    for template in (*json_texts.texts(settings.get("chat_template")), *_template_files(folder)):
        texts |= set(_template_markers(template))
    return texts


def _special_tokens(settings: dict[str, Any]) -> Iterator[str]:
    """``bos_token`` and the like, ``additional_special_tokens`` and ``extra_special_tokens``."""
    for name, value in settings.items():
        if name.endswith(("_token", "_special_tokens")):
            yield from json_texts.texts(value)


def _added_tokens(tokens: Any) -> Iterator[str]:
    """Those that a tokenizer cuts out of a text before all else and calls special, or that look it.

    Others (``<h1>`` of Gemma) are ordinary text; where a chat template writes one, it counts for that.
    """
    for token in tokens if isinstance(tokens, list) else ():
        content = token.get("content") if isinstance(token, dict) else None
        if isinstance(content, str) and (token.get("special") or _BARRED.fullmatch(content)):
            yield content


def _tekken_tokens(settings: dict[str, Any]) -> Iterator[str]:
    for token in typed(settings, "special_tokens", list):
        if isinstance(token, dict) and isinstance(text := token.get("token_str"), str):
            yield text


def _template_files(folder: Path) -> Iterator[str]:
    for file in (*folder.glob("*.jinja"), *folder.glob("additional_chat_templates/*.jinja")):
        yield file.read_text(encoding="utf-8")


def _template_markers(template: str) -> list[str]:
    return _IN_TEMPLATE.findall(template)


def _exact_texts(schema: Any, place: str) -> Iterator[tuple[str, str]]:
    """The places and texts in a JSON schema that a call must repeat as they are: all keys, ``enum`` and ``const``."""
    if isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from _exact_texts(item, f"{place}[{number}]")
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield place, key
            if key in _ALLOWED:
                yield from ((f"{place}.{key}", text) for text in json_texts.texts(value))
            yield from _exact_texts(value, f"{place}.{key}")
