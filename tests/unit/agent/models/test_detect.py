import json
from pathlib import Path

import pytest

from agent.config import ProfileConfig, ServingConfig
from agent.models import samples
from agent.models.detect import profile_of
from agent.models.files import read
from agent.models.profile import EMBEDDED, ModelProfile
from agent.models.rendering import render
from agent.models.samples import SampleTurns
from agent.models.template_markers import configured_markers
from agent.turn.prompt import PROMPT_VERSION, TEMPLATE
from tests.fakes.model_folders import FAMILIES, write_family
from toolkit.errors import UserError

OURS = "apprentice in the model's turns"
WRITTEN = "model, calls written by apprentice"

FOUND = {
    "chatml": ("instruct", "apprentice", "hermes", "<tool_call>", "<|im_end|>"),
    "qwen3": ("instruct", "model", "hermes", "<tool_call>", "<|im_end|>"),
    "qwen-coder": ("instruct", "model", "qwen3_coder", "<tool_call>", "<|im_end|>"),
    "hermes3": ("instruct", "model", "hermes", "<tool_call>", "<|im_end|>"),
    "smollm3": ("instruct", WRITTEN, "hermes", "<tool_call>", "<|im_end|>"),
    "llama3": ("instruct", "model", "llama3_json", '{"name": "', "<|eot_id|>"),
    "mistral": ("instruct", "model", "mistral", "[TOOL_CALLS]", "</s>"),
    "nemo": ("instruct", "model", "mistral", "[TOOL_CALLS]", "</s>"),
    "granite": ("instruct", WRITTEN, "granite", "<|tool_call|>", "<|end_of_text|>"),
    "xlam": ("instruct", "model", "xlam", '[{"name": "', "<|im_end|>"),
    "functiongemma": ("instruct", "model", "functiongemma", "<start_function_call>", "<end_of_turn>"),
    "gemma3": ("instruct", OURS, "hermes", "<tool_call>", "<end_of_turn>"),
    "phi": ("instruct", OURS, "hermes", "<tool_call>", "<|end|>"),
    "functools": ("instruct", WRITTEN, "phi4_mini_json", "functools[", "<|end|>"),
    "gemma-base": ("base", OURS, "hermes", "<tool_call>", "<end_of_turn>"),
    "llama-base": ("base", OURS, "hermes", "<tool_call>", "<|eot_id|>"),
    "chatml-base": ("base", "apprentice", "hermes", "<tool_call>", "<|im_end|>"),
    "plain-base": ("base", OURS, "hermes", "<tool_call>", "<|endoftext|>"),
}


def found(tmp_path: Path, family: str, **given: object) -> ModelProfile:
    return profile_of(write_family(tmp_path / family, family), ProfileConfig.model_validate(given))


def conversation(profile: ModelProfile, folder: Path, *turns: samples.Turn, prompt: bool = False) -> str:
    given = {**read(folder).special, **profile.template_options}
    return render(profile.template, turns, samples.tools(), add_generation_prompt=prompt, **given)


@pytest.mark.parametrize("family", FOUND)
def test_a_family_is_known_by_what_its_template_writes(tmp_path: Path, family: str) -> None:
    profile = found(tmp_path, family)
    named = (profile.kind, profile.source, profile.tool_parser, profile.call_opening, profile.end_of_turn)
    assert named == FOUND[family]


def test_every_family_but_the_unknown_one_is_tested() -> None:
    assert set(FAMILIES) - set(FOUND) == {"unknown"}


@pytest.mark.parametrize("family", FOUND)
def test_answers_follow_their_prompts_and_calls_begin_with_their_opening(tmp_path: Path, family: str) -> None:
    profile = found(tmp_path, family)
    special = read(tmp_path / family).special
    sample = SampleTurns(profile.template, {**special, **profile.template_options})
    assert sample.said(samples.call(samples.TOOL)).startswith(profile.call_opening)
    answer = sample.said(samples.ANSWER, samples.USER, samples.call(samples.TOOL), samples.result())
    assert answer.endswith(profile.end_of_turn + profile.after_turn)
    assert answer.strip().startswith(samples.SAID)
    whole = conversation(
        profile,
        tmp_path / family,
        samples.USER,
        samples.call(samples.TOOL),
        samples.result(),
        samples.ANSWER,
    )
    assert samples.TOOL in whole.partition(samples.USER["content"])[0] + whole  # the tool is shown, and called
    assert whole.count("170") == 1


@pytest.mark.parametrize("family", ["llama3", "mistral", "nemo", "gemma3", "functiongemma", "gemma-base", "llama-base"])
def test_the_bos_token_is_written_once(tmp_path: Path, family: str) -> None:
    profile = found(tmp_path, family)
    assert profile.bos == FAMILIES[family].bos
    text = conversation(profile, tmp_path / family, samples.USER, samples.ANSWER)
    assert text.startswith(profile.bos)
    assert text.count(profile.bos) == 1
    assert profile.bare("x") == "x"
    assert profile.model_copy(update={"adds_bos": False}).bare("x") == f"{profile.bos}x"
    assert profile.tokens_of("x") == f"{profile.bos}x"


def test_the_embedded_models_profile_is_that_of_its_folder(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "chatml")
    (folder / "chat_template.jinja").write_bytes(TEMPLATE.read_bytes())
    assert profile_of(folder) == EMBEDDED
    assert EMBEDDED.version == PROMPT_VERSION
    assert EMBEDDED.template.encode() == TEMPLATE.read_bytes()


def test_a_model_with_chatmls_turns_and_no_tools_gets_the_same_template(tmp_path: Path) -> None:
    assert found(tmp_path, "chatml") == EMBEDDED
    assert found(tmp_path, "chatml-base").template == EMBEDDED.template


def test_our_form_reads_alike_in_every_turn_style(tmp_path: Path) -> None:
    turns = (
        samples.SYSTEM,
        samples.USER,
        samples.call(samples.TOOL, times=2),
        samples.result(),
        samples.result(),
    )
    texts = {}
    for family in ("chatml", "gemma3", "phi", "llama-base", "plain-base"):
        profile = found(tmp_path, family)
        texts[family] = conversation(profile, tmp_path / family, *turns, prompt=True)
    for family, text in texts.items():
        for piece in (
            "Be brief about birds.\nCall a tool when one of these fits",
            "<tools>\nprobe_alpha(value: integer): SampleTurns a number.\n",
            '<tool_call>\n{"name": "probe_alpha", "arguments": {"value": 17}}\n</tool_call>\n<tool_call>\n',
            '<tool_response>\n{"said": 170}\n</tool_response>\n<tool_response>\n',
        ):
            assert text.count(piece) == 1, (family, piece)
    assert texts["gemma3"].startswith("<bos><start_of_turn>user\nBe brief")
    assert texts["gemma3"].endswith("<start_of_turn>model\n")


def test_reasoning_is_switched_off(tmp_path: Path) -> None:
    profile = found(tmp_path, "qwen3")
    assert profile.template_options == {"enable_thinking": False}
    assert profile.version != profile.model_copy(update={"template_options": {}}).version


def test_a_model_that_always_reasons_is_refused(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "qwen3")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("enable_thinking", "told_to_think"))
    with pytest.raises(UserError, match="always reasons before it answers"):
        profile_of(folder)


def test_ids_of_calls_are_counted_where_they_are_printed(tmp_path: Path) -> None:
    profile = found(tmp_path, "mistral")
    texts = {
        conversation(
            profile,
            tmp_path / "mistral",
            samples.USER,
            samples.call(samples.TOOL, name),
            samples.result(name),
        )
        for name in ("chatcmpl-tool-1", "call-0")
    }
    assert len(texts) == 1
    assert texts.pop().count("000000000") == 2


def test_an_unknown_form_of_calls_is_refused_until_its_parser_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"form that is not known \('@@probe_alpha.*set tool_parser in .*\"apprentice\""
    ):
        found(tmp_path, "unknown")
    named = found(tmp_path, "unknown", tool_parser="pythonic")
    assert (named.tool_parser, named.call_opening, named.constrained) == ("pythonic", "@@", False)
    ours = found(tmp_path, "unknown", template="apprentice")
    assert ours.template == EMBEDDED.template


def test_a_template_that_shows_tools_and_tells_no_form_of_calls_is_refused(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "smollm3")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("tool_call>", "call>"))
    with pytest.raises(UserError, match=r'shows tools, but writes no calls; set template = "apprentice"'):
        profile_of(folder)


def test_what_is_set_is_believed(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(FAMILIES["xlam"].template or "")
    profile = found(tmp_path, "qwen3", template=str(file), kind="base", stop=("<|endoftext|>",), call_opening="[")
    assert (profile.source, profile.tool_parser, profile.kind, profile.call_opening) == ("file", "xlam", "base", "[")
    assert profile.stop == ("<|im_end|>", "<|endoftext|>")
    assert found(tmp_path, "gemma3", bos="no").bos == ""
    with pytest.raises(UserError, match=r"no bos_token"):
        found(tmp_path, "granite", bos="yes")
    with pytest.raises(UserError, match=r"absent\.jinja cannot be read"):
        found(tmp_path, "qwen3", template="/absent.jinja")
    with pytest.raises(UserError, match="has no chat template"):
        found(tmp_path, "plain-base", template="model")
    with pytest.raises(UserError, match="shows the model no tools"):
        found(tmp_path, "chatml", template="model")


def test_a_stop_token_that_the_models_files_leave_out_is_given(tmp_path: Path) -> None:
    profile = found(tmp_path, "gemma-base")
    tokens = read(tmp_path / "gemma-base").tokens
    assert set(profile.stop_ids) == {tokens["<eos>"], tokens["<end_of_turn>"]}
    assert found(tmp_path, "gemma3").stop_ids == ()


def test_sampling_defaults_of_a_model_stay_behind(tmp_path: Path) -> None:
    assert read(write_family(tmp_path / "qwen3", "qwen3")).sampling == {"repetition_penalty": 1.05}
    assert len(found(tmp_path, "qwen3").stop_ids) == 2


def test_a_template_whose_answers_do_not_follow_their_prompts_is_refused(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "phi")
    template = "{{ messages | length }}" + (FAMILIES["phi"].template or "")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match="cannot be trained on: an answer does not continue its own prompt"):
        profile_of(folder)


def test_a_broken_template_is_one_line(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "qwen3")
    (folder / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(UserError, match=r"fails: .*; set template"):
        profile_of(folder)
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"cannot be read: .*holds no JSON object; save it again"):
        profile_of(folder)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% for n in range(10 ** 11) %}{% endfor %}", "too big"),
        ("{{ 'a' * 10 ** 18 }}", "MemoryError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{{ 'a'.encode('no such') }}", "unknown encoding"),
    ],
)
def test_what_a_template_raises_is_one_line(tmp_path: Path, wrong: str, told: str) -> None:
    folder = write_family(tmp_path, "qwen3")
    (folder / "chat_template.jinja").write_text(wrong)
    with pytest.raises(UserError, match=rf"the chat template of .* fails: .*{told}.*; set template"):
        profile_of(folder)


@pytest.mark.parametrize(
    ("file", "key", "value", "told"),
    [
        ("tokenizer_config.json", "added_tokens_decoder", [{"content": "<x>"}], "added_tokens_decoder is no object"),
        ("tokenizer.json", "added_tokens", 7, "added_tokens is no list"),
        ("tokenizer.json", "normalizer", "NFC", "normalizer is no object"),
        ("tokenizer.json", "pre_tokenizer", {"pretokenizers": 7}, "pretokenizers is no list"),
    ],
)
def test_a_tokenizer_of_another_form_is_one_line(tmp_path: Path, file: str, key: str, value: object, told: str) -> None:
    folder = write_family(tmp_path, "qwen3")
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=rf"the tokenizer in .* cannot be read: {told}; save it again"):
        profile_of(folder)


def test_no_traceback_where_markers_are_read_of_such_a_tokenizer(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "qwen3")
    for file, key, told in (
        ("tekken.json", "special_tokens", "special_tokens is no list"),
        ("tokenizer_config.json", "added_tokens_decoder", "added_tokens_decoder is no object"),
    ):
        (folder / file).write_text(json.dumps({key: 7}))
        with pytest.raises(UserError, match=f"cannot be read: {told}; save it again"):
            configured_markers(ServingConfig(), folder)


def test_odd_values_beside_the_right_ones_are_passed_over(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "qwen3")
    ids = read(folder).eos_ids
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    named = [{"name": ["x"], "template": "x"}, {"name": "default", "template": template}]
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": named}))
    generation = folder / "generation_config.json"
    generation.write_text(json.dumps({"eos_token_id": [{"id": 1}, *ids]}))
    assert (read(folder).template, read(folder).eos_ids) == (template, ids)


@pytest.mark.parametrize("family", ["gemma-base", "functiongemma", "llama-base", "mistral", "plain-base"])
def test_the_tokens_of_a_profile_are_kept_out_of_other_texts(tmp_path: Path, family: str) -> None:
    profile = found(tmp_path, family)
    markers = configured_markers(ServingConfig(), tmp_path / family)
    for token in (profile.end_of_turn, profile.bos):
        assert not token or markers.found(f"a {token} b")
    openings = {"plain-base": "<|user|>", "gemma-base": "<start_of_turn>", "llama-base": "<|start_header_id|>"}
    assert family not in openings or markers.found(openings[family])
