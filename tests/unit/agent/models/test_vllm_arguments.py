import json
from pathlib import Path

from agent.models import vllm_arguments
from agent.models.detect import profile_of
from agent.models.profile import EMBEDDED
from agent.turn.prompt import TEMPLATE
from tests.fakes.model_folders import write_family


def test_the_embedded_model_is_served_with_the_projects_own_file(tmp_path: Path) -> None:
    found = vllm_arguments.of_profile(EMBEDDED, tmp_path / "profile")
    plugin = found.pop("--tool-parser-plugin")
    assert Path(plugin).name == "hermes_calls.py"
    assert Path(plugin).is_file()
    assert found == {"--tool-call-parser": "hermes", "--chat-template": str(TEMPLATE)}
    assert not (tmp_path / "profile").exists()


def test_another_model_is_served_with_its_profile(tmp_path: Path) -> None:
    profile = profile_of(write_family(tmp_path / "m", "qwen3"))
    for _ in range(2):  # vLLM is started again in the same folder
        found = vllm_arguments.of_profile(profile, tmp_path / "profile")
    assert Path(found["--chat-template"]).read_text() == profile.template
    assert json.loads(found["--default-chat-template-kwargs"]) == {"enable_thinking": False}
    settings = json.loads((Path(found["--generation-config"]) / "generation_config.json").read_text())
    assert settings == {"eos_token_id": list(profile.stop_ids)}
    assert found["--chat-template-content-format"] == "string"
    assert found["--tokenizer-mode"] == "hf"


def test_a_parser_of_vllms_own_needs_no_plugin(tmp_path: Path) -> None:
    profile = profile_of(write_family(tmp_path / "m", "llama3"))
    found = vllm_arguments.of_profile(profile, tmp_path / "profile")
    assert found["--tool-call-parser"] == "llama3_json"
    assert "--tool-parser-plugin" not in found
    assert "--generation-config" not in found
