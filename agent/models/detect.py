"""Finds the profile of a model by rendering its own chat template and reading what that writes.

Nothing is guessed: what a template writes in no known form is refused, and the refusal names the setting that helps.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path

from agent.config import ProfileConfig
from agent.models import files, samples, templates
from agent.models.files import ModelFiles
from agent.models.profile import EMBEDDED, ModelProfile, Source
from agent.models.rendering import TemplateFailed
from agent.models.samples import SampleTurns
from agent.tools import formats as tool_formats
from agent.tools.formats import HERMES, ToolFormat
from toolkit.errors import UserError

_TABLE = "[agent.serving.profile]"
_SWITCH = "enable_thinking"
"""With it, a template lets a model reason before it answers, which lessons do not."""
_OURS = f'set template = "apprentice" in {_TABLE} of config.toml, which uses the turns of the model alone'
_A_FILE = f"set template in {_TABLE} of config.toml to the path of a template of your own"


def profile_of(folder: Path, given: ProfileConfig | None = None) -> ModelProfile:
    """Return the profile of the model in ``folder``; what ``given`` says is believed.

    Raises UserError where a file cannot be read, or the model's template cannot be used as it is.
    """
    given = given or ProfileConfig()
    try:
        found = files.read(folder.resolve())
        chosen = _chosen(found, given, folder)
        return _finished(chosen, found, given)
    except TemplateFailed as error:
        raise UserError(f"the chat template of {folder} fails: {error}; {_advice(given)}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"the tokenizer in {folder} cannot be read: {error}; save it again") from error


@dataclass(frozen=True)
class _Chosen:
    """A template, where it is from, and the form of its calls. ``written`` is a call as the template writes it."""

    template: str
    source: Source
    form: ToolFormat
    written: str
    options: dict[str, bool]


def _chosen(found: ModelFiles, given: ProfileConfig, folder: Path) -> _Chosen:
    own, source = found.template, "model"
    if given.template not in ("auto", "model", "apprentice"):
        own, source = _file(given.template), "file"
    elif given.template == "model" and own is None:
        raise UserError(f'the model in {folder} has no chat template; set template = "auto" in {_TABLE} of config.toml')
    if own is None:
        return _in_turns_of_tokens(found, given)
    if own == EMBEDDED.template:
        return _Chosen(own, "apprentice", HERMES, _call(SampleTurns(own, found.special)), {})
    if given.template == "apprentice":
        return _ours(own, found, given)
    options = _options(own)
    sample = SampleTurns(own, {**found.special, **options})
    if sample.shows_tools():
        return _with_its_tools(_completed(sample, found), source, given, folder, options)
    if given.template == "model":
        raise UserError(f"the chat template of {folder} shows the model no tools; {_OURS}")
    return _in_turns(own, found, given)


def _completed(sample: SampleTurns, found: ModelFiles) -> SampleTurns:
    """Return a template that shows tools, with what it needs to write every conversation, always as the same text."""
    if not sample.takes_no_tools():
        sample = replace(sample, template=templates.without_tools(sample.template, found.plain))
    if sample.prints_ids():
        sample = replace(sample, template=templates.numbered_ids(sample.template))
    if sample.prints_names():  # before the ids are counted: a result may be of a call that is not there
        sample = replace(sample, template=templates.named_results(sample.template))
    if sample.drops_system():
        kept = replace(sample, template=templates.system_in_user_turn(sample.template))
        sample = sample if kept.drops_system() else kept
    return sample


def _with_its_tools(
    sample: SampleTurns, source: Source, given: ProfileConfig, folder: Path, options: dict[str, bool]
) -> _Chosen:
    """Return the model's own template, completed where it leaves out calls."""
    if _call(sample):
        text = _call(sample)
        form = tool_formats.written(text)
    else:
        form = tool_formats.described(sample.prompt(tools=True))
        if form is None or form.joined is None:
            raise UserError(f"the chat template of {folder} shows tools, but writes no calls; {_OURS}")
        source = "model, calls written by apprentice"
        sample = replace(sample, template=templates.calls_as_text(sample.template, form))
        text = _call(sample)
    if given.tool_parser and (form is None or form.parser != given.tool_parser):
        opening = given.call_opening or _shared_opening(sample)
        constrained = tool_formats.parser_constrains(given.tool_parser)
        form = ToolFormat(given.tool_parser, HERMES.written, opening, constrained=constrained)
    if form is None and text.startswith("<think>"):
        raise UserError(f"the model in {folder} always reasons before it answers, which lessons do not; {_OURS}")
    if form is None:
        raise UserError(
            f"the chat template of {folder} writes calls in a form that is not known ({text[:60]!r}); set tool_parser "
            f"in {_TABLE} of config.toml to vLLM's parser for it, or {_OURS}"
        )
    return _Chosen(sample.template, source, form, text, options)


def _ours(own: str, found: ModelFiles, given: ProfileConfig) -> _Chosen:
    """Return apprentice's own form in the turns of the first template that can write it: the one for conversations
    without tools, ``own``, or one that is made of the tokenizer's tokens."""
    for turns in filter(None, (found.plain, own)):
        with suppress(TemplateFailed):
            chosen = _in_turns(turns, found, given)
            sample = SampleTurns(chosen.template, {**found.special, **chosen.options})
            if chosen.written.lstrip().startswith(HERMES.opening) and not sample.unprefixed():
                return chosen
    return _in_turns_of_tokens(found, given)


def _in_turns_of_tokens(found: ModelFiles, given: ProfileConfig) -> _Chosen:
    bos = _bos(found, given, "")
    return _in_turns(templates.turns_of(found.tokens, bos, found.special.get("eos_token", "")), found, given)


def _options(template: str) -> dict[str, bool]:
    return {_SWITCH: False} if _SWITCH in template else {}


def _in_turns(turns: str, found: ModelFiles, given: ProfileConfig) -> _Chosen:
    """Return apprentice's own form of tools and calls in the turns that the template ``turns`` writes ("": ChatML).

    Raises TemplateFailed.
    """
    options = _options(turns)
    sample = SampleTurns(turns, {**found.special, **options})
    if not turns or sample.writes_chatml():
        bos = _bos(found, given, sample.prompt() if turns else "")
        template, source = templates.chatml(bos), "apprentice"
        if bos:
            source = "apprentice in the model's turns"
        return _Chosen(template, source, HERMES, _call(SampleTurns(template, found.special)), {})
    made = templates.tools_in_turns(turns, system_turns=sample.takes_system())
    sample = replace(sample, template=made)
    return _Chosen(made, "apprentice in the model's turns", HERMES, _call(sample), options)


def _finished(chosen: _Chosen, found: ModelFiles, given: ProfileConfig) -> ModelProfile:
    sample = SampleTurns(chosen.template, {**found.special, **chosen.options})
    if chosen.template == EMBEDDED.template:
        end, after = EMBEDDED.end_of_turn, EMBEDDED.after_turn
    else:
        end, after = _end_of_turn(sample, found, given)
    if problem := sample.unprefixed():
        raise UserError(f"the chat template cannot be trained on: {problem}; {_advice(given)}")
    end_of_call, after_call = _end_of_call(sample, found, chosen.form, end, after)
    stops = tuple(dict.fromkeys((end, end_of_call, *given.stop)))
    lacking = [text for text in stops if found.tokens.get(text) not in found.eos_ids]
    numbers = {found.tokens[text] for text in lacking if text in found.tokens} | set(found.eos_ids)
    neutral = bool(lacking or found.sampling) and bool(numbers)
    return ModelProfile(
        kind=given.kind if given.kind != "auto" else "base" if found.template is None else "instruct",
        template=chosen.template,
        source=chosen.source,
        template_options=chosen.options,
        tool_parser=given.tool_parser or chosen.form.parser,
        call_opening=given.call_opening or chosen.form.opening,
        call_closing=chosen.form.closing,
        constrained=chosen.form.constrained,
        json_tools=chosen.source in ("model", "file", "model, calls written by apprentice"),
        end_of_turn=end,
        after_turn=after,
        after_call=after_call,
        stop=stops,
        stop_ids=tuple(sorted(numbers)) if neutral else (),
        bos=_bos(found, given, sample.prompt()),
        adds_bos=found.adds_bos,
        prefix_space=found.prefix_space,
        parallel=sample.takes_parallel(),
        user_after_result=sample.takes_user_after_result(),
    )


def _file(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"the chat template {name} cannot be read: {error}; correct template in {_TABLE}") from error


def _call(sample: SampleTurns) -> str:
    """Return the text of an answer that is one call, "" where the template leaves it out."""
    text = sample.said(samples.call(samples.TOOL))
    return text if samples.TOOL in text else ""


def _shared_opening(sample: SampleTurns) -> str:
    """Return the text with which every call begins: the shared beginning of two, without the part of their names."""
    calls = [sample.said(samples.call(name)) for name in (samples.TOOL, samples.OTHER_TOOL)]
    return commonprefix(calls)  # noqa: RUF071 - characters are meant, not folders


def _end_of_turn(sample: SampleTurns, found: ModelFiles, given: ProfileConfig) -> tuple[str, str]:
    """Return the token that ends an answer, and what the template writes behind it.

    A template that writes none leaves it to the model's own end of text, or to the first ``stop`` that is set.
    """
    behind = sample.said(samples.ANSWER).partition(samples.SAID)[2]
    known = set(found.tokens) | set(found.special.values())
    at, _, end = min(((behind.find(text), -len(text), text) for text in known if text in behind), default=(0, 0, ""))
    if end:
        return end, behind[at + len(end) :]
    if eos := found.special.get("eos_token", "") or "".join(given.stop[:1]):
        return eos, behind
    raise UserError(f"nothing ends an answer: no token behind it, and no eos_token; set stop in {_TABLE}")


def _end_of_call(sample: SampleTurns, found: ModelFiles, form: ToolFormat, end: str, after: str) -> tuple[str, str]:
    """Return the token that ends an answer of calls, and what the template writes behind it.

    Most end as other answers do, with ``end`` and ``after``. Another token is believed to end them where it stands
    behind the closing of a call, or where the model's files say so.
    """
    text = sample.said(samples.call(samples.TOOL))
    if text.endswith(end + after):
        return end, after
    bare = text.rstrip()
    known = sorted({*found.tokens, *found.special.values()}, key=len)
    last = next((token for token in reversed(known) if token.strip() and bare.endswith(token)), "")
    behind = bool(form.closing) and form.closing in text and last not in form.closing
    if last == end or (last and (behind or found.tokens.get(last) in found.eos_ids)):
        return last, text[len(bare) :]
    return end, ""


def _advice(given: ProfileConfig) -> str:
    return _A_FILE if given.template == "apprentice" else _OURS


def _bos(found: ModelFiles, given: ProfileConfig, rendered: str) -> str:
    """Return the BOS token if texts must begin with it: the tokenizer or the model's template puts it there.

    A token that begins each turn (SmolLM2's) is none.
    """
    token = found.special.get("bos_token", "")
    if given.bos != "auto":
        if given.bos == "yes" and not token:
            raise UserError(f'the tokenizer has no bos_token; set bos = "auto" in {_TABLE}')
        return token if given.bos == "yes" else ""
    begins = bool(token) and rendered.startswith(token) and rendered.count(token) == 1
    return token if token and (found.adds_bos or begins) else ""
