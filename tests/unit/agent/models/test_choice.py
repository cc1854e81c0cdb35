import json
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from agent.adapters import active, package, required, shared_pointer
from agent.adapters.active import SHARED, ActiveAdapter
from agent.config import Config, ServingConfig
from agent.models import choice, default_model, hub, packaged
from agent.models.packaged import GEMMA
from agent.storage import database_server
from tests.fakes.adapter_folder import make_adapter, sha256_of
from tests.fakes.model_folders import write_family
from tests.fakes.postgres import PostgresServer
from toolkit.config import load_config
from toolkit.errors import UserError

CONFIG = """\
# Mine.
[agent.prompt]
tools_in_prompt = 3

[agent.serving]   # the model
model = "default"                    # see docs
upstreams = []

[agent.serving.gateway]
port = 8765
"""


def model_folder(folder: Path, family: str = "llama3") -> Path:
    write_family(folder, family)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def pulled(data: Path, name: str, repo: str) -> Path:
    folder = model_folder(data / "models" / name)
    (folder / hub.PULLED).write_text(json.dumps({"repo": repo, "revision": "a" * 40, "files": {}}))
    return folder


def settings(folder: Path, text: str = CONFIG) -> tuple[Config, Path]:
    file = folder / "config.toml"
    file.write_text(text)
    return load_config(file, Config), file


def publish(data: Path, name: str) -> str:
    folder = package.folder_of(data, name)
    folder.mkdir(parents=True)
    (folder / package.MANIFEST).write_text(json.dumps({"name": name}))
    return package.manifest_sha256(folder)


@pytest.mark.parametrize(
    "text",
    [
        CONFIG,
        "",
        "[agent.serving]\nupstreams = []",
        "[toolkit.tools]\nbuiltin = true\n",
        "[agent]\n[ agent . serving ]\n",
    ],
)
def test_only_the_name_of_the_model_is_written(tmp_path: Path, text: str) -> None:
    config, file = settings(tmp_path, text)
    folder = model_folder(tmp_path / 'my "model"')
    choice.use(config, file, str(folder))
    found = tomllib.loads(file.read_text())
    assert found["agent"]["serving"].pop("model") == str(folder)
    expected = tomllib.loads(text)
    expected.setdefault("agent", {}).setdefault("serving", {}).pop("model", None)
    assert found == expected
    assert "# Mine." not in text or "# see docs" in file.read_text()


@pytest.mark.parametrize("text", ['agent.serving.model = "default"\n', 'agent = {serving = {model = "default"}}\n'])
def test_a_file_that_would_be_harmed_is_left_alone(tmp_path: Path, text: str) -> None:
    config, file = settings(tmp_path, text)
    with pytest.raises(UserError, match=r'write model = ".*" below \[agent\.serving\] yourself'):
        choice.use(config, file, str(model_folder(tmp_path / "m")))
    assert file.read_text() == text


def test_each_model_keeps_its_active_adapter(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    data = config.data_folder
    other = str(model_folder(tmp_path / "other"))
    sha256 = publish(data, "adapter-0001")
    active.write(data, ActiveAdapter(name="adapter-0001", sha256=sha256))
    assert choice.use(config, file, "default") == "adapter-0001"
    assert choice.use(config, file, other) == "base"
    pointer = active.read(data)
    assert pointer.change is not None
    assert (pointer.name, pointer.change.serial, pointer.change.previous) == ("base", 1, "adapter-0001")
    assert package.folder_of(data, "adapter-0001").is_dir()
    assert choice.use(load_config(file, Config), file, "default") == "adapter-0001"
    again = active.read(data)
    assert again.change is not None
    assert (again.name, again.sha256, again.change.serial) == ("adapter-0001", sha256, 2)


def test_each_model_keeps_the_adapters_of_tenants(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    data, other = config.data_folder, str(model_folder(tmp_path / "other"))
    for tenant, name in (("sales", "adapter-0001"), ("care", "adapter-0002")):
        active.write(data, ActiveAdapter(name=name, sha256=publish(data, name)), tenant=tenant)
    active.write(data, ActiveAdapter(name=SHARED), tenant="lab")
    before = {tenant: active.read(data, tenant).name for tenant in active.tenants(data)}
    assert choice.use(config, file, other) == "base"
    assert {active.read(data, tenant).name for tenant in before} == {SHARED}
    required.write(data, {})  # servers of the other model refused them
    assert choice.use(load_config(file, Config), file, "default") == "base"
    assert {tenant: active.read(data, tenant).name for tenant in before} == before
    assert required.read(data) == {
        name: package.manifest_sha256(package.folder_of(data, name)) for name in ("adapter-0001", "adapter-0002")
    }


def test_a_damaged_pointer_of_a_tenant_stops_no_change_of_the_model(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    data, other = config.data_folder, str(model_folder(tmp_path / "other"))
    active.write(data, ActiveAdapter(name="adapter-0001", sha256=publish(data, "adapter-0001")))
    active.write(data, ActiveAdapter(name="adapter-0002", sha256=publish(data, "adapter-0002")), tenant="sales")
    active.path(data, "care").write_text("{")
    assert choice.use(config, file, other) == "base"
    assert (active.read(data).name, active.read(data, "sales").name) == ("base", SHARED)
    assert active.path(data, "care").read_text() == "{"


def test_what_a_model_goes_back_to_is_there_for_other_machines(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.database()
    config, file = settings(tmp_path, f'[agent]\ndatabase = "{url}"\n{CONFIG}')
    data = config.data_folder
    try:
        sha256 = sha256_of(make_adapter(data, "adapter-0001", promote=True))
        assert choice.use(config, file, str(model_folder(tmp_path / "other"))) == "base"
        assert choice.use(load_config(file, Config), file, "default") == "adapter-0001"
    finally:
        database_server.keep(data, "")
    with closing(shared_pointer.open_pointer(url)) as database:
        assert shared_pointer.fetch_files(database, tmp_path / "elsewhere", "adapter-0001", sha256).is_dir()


def test_an_adapter_that_is_gone_is_not_activated(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    data = config.data_folder
    active.write(data, ActiveAdapter(name="adapter-0001", sha256=publish(data, "adapter-0001")))
    choice.use(config, file, str(model_folder(tmp_path / "other")))
    (package.folder_of(data, "adapter-0001") / package.MANIFEST).write_text("{}")
    assert choice.use(load_config(file, Config), file, "default") == "base"


def test_terms_are_accepted_once_by_a_person(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    with pytest.raises(
        UserError, match=r"Gemma Terms of Use \(https://.*agent models use gemma-3-270m --accept-license"
    ):
        choice.use(config, file, GEMMA.name)
    with pytest.raises(UserError, match="--accept-license"):
        default_model.resolve(GEMMA.name, config.data_folder)
    assert file.read_text() == CONFIG
    choice.use(config, file, GEMMA.name, accept_license=True)
    packaged.check_terms(GEMMA, config.data_folder)
    choice.use(load_config(file, Config), file, GEMMA.name)
    assert load_config(file, Config).agent.serving.model == GEMMA.name


def test_a_model_that_cannot_be_spoken_to_is_not_used(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    with pytest.raises(UserError, match="form that is not known"):
        choice.use(config, file, str(model_folder(tmp_path / "m", "unknown")))
    with pytest.raises(UserError, match=r"no model absent; see: agent models list"):
        choice.use(config, file, "absent")
    assert file.read_text() == CONFIG


def test_a_pulled_model_goes_by_its_repository(tmp_path: Path) -> None:
    config, file = settings(tmp_path)
    folder = pulled(config.data_folder, "me--tiny@aaaaaaaaaaaa", "me/tiny")
    choice.use(config, file, "me/tiny")
    found = load_config(file, Config)
    assert found.agent.serving.model == folder.name
    assert default_model.resolve(folder.name, config.data_folder) == folder.resolve()
    pulled(config.data_folder, "me--tiny@bbbbbbbbbbbb", "me/tiny")
    with pytest.raises(
        UserError, match="several revisions; choose one of: me--tiny@aaaaaaaaaaaa, me--tiny@bbbbbbbbbbbb"
    ):
        choice.use(found, file, "me/tiny")


def test_models_are_listed_with_their_state(tmp_path: Path) -> None:
    pulled(tmp_path, "me--tiny@aaaaaaaaaaaa", "me/tiny")
    used = Config(data_folder=tmp_path, agent={"serving": ServingConfig(model="/absent")})  # pyright: ignore
    assert [(model.name, model.state, model.used) for model in choice.listed(used)] == [
        ("default", "not prepared", False),
        (GEMMA.name, "not prepared", False),
        ("me--tiny@aaaaaaaaaaaa", "pulled", False),
        ("/absent", "missing", True),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"repo": "me/tiny", "revision": 2}, {"repo": ["me"], "revision": "a"}, {"repo": "me/tiny"}, [], None],
)
def test_a_note_of_a_pulled_model_that_is_damaged_hides_that_one_alone(tmp_path: Path, wrong: object) -> None:
    config, _ = settings(tmp_path)
    damaged = pulled(config.data_folder, "me--tiny@aaaaaaaaaaaa", "me/tiny")
    pulled(config.data_folder, "me--other@bbbbbbbbbbbb", "me/other")
    (damaged / hub.PULLED).write_text(json.dumps(wrong))
    assert [model.name for model in choice.listed(config) if model.state == "pulled"] == ["me--other@bbbbbbbbbbbb"]


@pytest.mark.parametrize("wrong", [["adapter-0001"], {"name": 1, "sha256": 2}, {"name": None, "sha256": ""}])
def test_a_remembered_adapter_that_is_damaged_is_forgotten(tmp_path: Path, wrong: object) -> None:
    config, file = settings(tmp_path)
    models = config.data_folder / "models"
    models.mkdir(parents=True)
    (models / "active_adapters.json").write_text(json.dumps({"default": wrong}))
    choice.use(config, file, str(model_folder(tmp_path / "other")))
    (models / "active_adapters.json").write_text(json.dumps({"default": wrong}))
    assert choice.use(load_config(file, Config), file, "default") == "base"
