"""The profile of a model as arguments of vLLM."""

import json
from pathlib import Path

from agent.models.profile import ModelProfile
from agent.turn.prompt import TEMPLATE

_HERMES_CALLS = Path(__file__).parents[1] / "serving" / "vllm_plugin" / "hermes_calls.py"
"""Overrides vLLM's parser ``hermes``."""


def of_profile(profile: ModelProfile, folder: Path) -> dict[str, str]:
    """Return the arguments that let vLLM speak to a model as ``profile`` says.

    What vLLM reads from files is written to ``folder``, which may be there; nothing is written for apprentice's own
    template, which is one. Raises OSError.
    """
    found = {"--tool-call-parser": profile.tool_parser}
    if file := plugin(profile):
        found["--tool-parser-plugin"] = file
    if not profile.own_template:
        found["--chat-template"] = str(TEMPLATE)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chat_template.jinja").write_text(profile.template, encoding="utf-8")
        found["--chat-template"] = str(folder / "chat_template.jinja")
        # As vLLM reads the template, it might hand over parts in place of texts, which training does not know.
        found["--chat-template-content-format"] = "string"
        # Mistral's own tokenizer has a template built in, and would pass over this one.
        found["--tokenizer-mode"] = "hf"
    if profile.template_options:
        found["--default-chat-template-kwargs"] = json.dumps(profile.template_options)
    if profile.stop_ids:
        # Its penalties and temperatures stay behind: calls repeat values exactly.
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"eos_token_id": list(profile.stop_ids)}
        (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
        found["--generation-config"] = str(folder)
    return found


def plugin(profile: ModelProfile) -> str:
    """Return the file that overrides vLLM's parser of the profile; "" where vLLM's own is used."""
    return str(_HERMES_CALLS) if profile.tool_parser == "hermes" else ""
