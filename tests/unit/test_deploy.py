"""The files of deploy/: parsed here, and checked by the programs that read them where these are installed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import RawConfigParser
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from agent.config import GatewayConfig
from evolver.config import Config
from tests.fakes.deploy_files import DEPLOY, ROOT, needs
from toolkit.config import load_config
from toolkit.sandbox import cgroup

CONTAINER, KUBERNETES, SYSTEMD = DEPLOY / "container", DEPLOY / "kubernetes", DEPLOY / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
COMPOSITIONS = sorted(CONTAINER.glob("*.yml"))
CONFIGS = sorted(DEPLOY.rglob("config.toml"))
APPS = {"agent": "agent.commands", "evolver": "evolver.cli.main"}
COVERS_WHAT_THE_SANDBOX_NEEDS = {
    "RestrictNamespaces",
    "PrivateUsers",
    "SystemCallFilter",
    "ProtectHostname",
    "ProtectKernelTunables",
    "ProtectKernelLogs",
    "ProtectProc",
    "ProcSubset",
    "ProtectControlGroups",
    "MemoryDenyWriteExecute",
}


def assert_is_a_command(words: list[str]) -> None:
    """Hold that a command line is one of agent or evolver, and takes these options."""
    app = import_module(APPS[Path(words[0]).name]).app
    shown = CliRunner().invoke(app, [*words[1:], "--help"])
    assert shown.exit_code == 0, shown.output


def unit(path: Path) -> dict[str, str]:
    parser = RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return dict(parser["Service"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_and_leaves_the_sandbox_what_it_needs(path: Path) -> None:
    service = unit(path)
    assert_is_a_command(service["ExecStart"].split())
    assert service.keys() & COVERS_WHAT_THE_SANDBOX_NEEDS == set()
    assert set(service["Delegate"].split()) == cgroup._CONTROLLERS
    assert service["DelegateSubgroup"] == cgroup._MAIN
    assert {"AF_NETLINK", "AF_UNIX"} <= set(service["RestrictAddressFamilies"].split())
    assert service["User"] != "root"


def test_both_units_are_hardened_alike() -> None:
    first, second = map(unit, UNITS)
    differ = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
    assert differ == {"ExecStart", "KillSignal", "SuccessExitStatus", "Nice", "CPUWeight"}


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    needs("systemd-analyze", "--version")
    for path in UNITS:
        text = path.read_text(encoding="utf-8").replace("/opt/apprentice/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / path.name) for path in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    # A key that is newer than this systemd: the units say what its absence means.
    problems = [line for line in said.stderr.splitlines() if "'DelegateSubgroup' in section" not in line]
    assert (problems, said.returncode) == ([], 0)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_the_settings_are_valid(path: Path) -> None:
    config = load_config(path, Config)
    assert config.data_folder in (Path("/data"), Path("/var/lib/apprentice"))
    assert config.agent.serving.gateway.port == GatewayConfig().port


def test_the_settings_of_all_containers_are_the_same() -> None:
    # kustomize reads no file outside of its folder.
    assert (KUBERNETES / "config.toml").read_bytes() == (CONTAINER / "config.toml").read_bytes()


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, value = line.partition(" ")
            yield name, value.strip()


def test_the_image_holds_what_the_product_needs() -> None:
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
    found = list(instructions())
    assert {name for name, _ in found} <= known
    copied = [source for name, value in found if name == "COPY" for source in value.split()[:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks", "tests", "scripts", "soak"}
    assert packages <= set(copied)
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert admitted == set(copied)
    installed = next(value for name, value in found if name == "RUN" and "apt-get" in value)
    assert "bubblewrap" in installed
    assert ("EXPOSE", str(GatewayConfig().port)) in found
    assert ("VOLUME", "/data") in found
    users = [name for name, _ in found if name in ("USER", "CMD")]
    assert users == ["USER", "CMD"]
    assert_is_a_command(json.loads(next(value for name, value in found if name == "CMD")))


UNCONFINED = {"seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined", "no-new-privileges:true"}


def services(name: str = "compose.yml") -> dict[str, Any]:
    return yaml.safe_load((CONTAINER / name).read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("path", COMPOSITIONS, ids=lambda path: path.name)
def test_a_composition_fits_the_specification(path: Path) -> None:
    shipped = resources.files("check_jsonschema.builtin_schemas") / "vendor" / "compose-spec.json"
    specification = Draft202012Validator(json.loads(shipped.read_text(encoding="utf-8")))
    errors = specification.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_every_variable_of_a_composition_has_a_default_and_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for path in COMPOSITIONS:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"\$\{(\w+):-[^}]*\}", text)
        assert len(found) == text.count("$")
        assert [name for name in found if f"`{name}`" not in docs and f"{name}=" not in docs] == []


def test_compose_runs_the_evolver_beside_the_server() -> None:
    agent, evolver = (services()[name] for name in ("agent", "evolver"))
    assert_is_a_command(evolver["command"])
    assert (evolver["pid"], evolver["network_mode"]) == ("service:agent", "service:agent")
    context = (CONTAINER / agent["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / agent["build"]["dockerfile"]).is_file()
    assert agent["ports"] == [f"127.0.0.1:{GatewayConfig().port}:{GatewayConfig().port}"]
    for service in (agent, evolver):
        assert set(service["security_opt"]) == UNCONFINED
        assert service["cap_drop"] == ["ALL"]
        assert service["volumes"][0] == "data:/data"
    assert services("compose.gpu.yml").keys() == {"agent", "evolver"}


def test_a_database_and_a_cluster_are_there_only_where_a_profile_asks_for_them() -> None:
    found = services()
    assert {name: one.get("profiles") for name, one in found.items()} == {
        "agent": None,
        "evolver": None,
        "postgres": ["postgres"],
        "ray-head": ["ray"],
        "ray-node": ["ray"],
    }
    for name in ("agent", "evolver"):
        needed = {other for other, how in found[name]["depends_on"].items() if how.get("required", True)}
        assert [other for other in needed if "profiles" in found[other]] == []
    for one in found.values():
        healthy = [other for other, how in one.get("depends_on", {}).items() if how["condition"] == "service_healthy"]
        assert [other for other in healthy if "test" not in found[other]["healthcheck"]] == []


def test_the_postgres_profile_starts_what_its_settings_name() -> None:
    found, config = services(), load_config(CONTAINER / "postgres" / "config.toml", Config)
    made = found["postgres"]["environment"]
    assert config.agent.database == f"postgresql://{made['POSTGRES_USER']}@postgres/{made['POSTGRES_DB']}"
    passwords = {found[name]["environment"]["PGPASSWORD"] for name in ("agent", "evolver")}
    assert passwords == {made["POSTGRES_PASSWORD"]} == {"${APPRENTICE_POSTGRES_PASSWORD:-}"}
    assert "ports" not in found["postgres"]


def test_the_ray_profile_starts_what_its_settings_name() -> None:
    found, config = services(), load_config(CONTAINER / "ray" / "config.toml", Config)
    head, node, evolver = (found[name] for name in ("ray-head", "ray-node", "evolver"))
    assert config.cluster.address == "auto"  # Ray's own file in /tmp/ray tells where
    assert (head["pid"], head["network_mode"]) == (evolver["pid"], evolver["network_mode"])
    assert {one.partition(":")[2] for one in head["volumes"]} == {"/tmp/ray"}
    assert set(head["volumes"]) < set(evolver["volumes"])
    port = next(word.partition("=")[2] for word in head["command"] if word.startswith("--port="))
    assert f"--address=agent:{port}" in node["command"]
    assert f"--address=127.0.0.1:{port}" in head["healthcheck"]["test"]
    assert "--num-cpus=0" in head["command"]
    assert node["volumes"] == [one for one in evolver["volumes"] if "/config" in one]  # the tools, at the same path
    for service in (head, node):
        assert set(service["security_opt"]) == UNCONFINED
        assert service["image"] == evolver["image"]
        assert service["environment"].items() <= evolver["environment"].items()
    told = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    plain = [f"{name}={value}" for name, value in head["environment"].items() if "$" not in value]
    assert [setting for setting in plain if setting not in told] == []
    assert head["environment"]["RAY_AUTH_TOKEN"] == "${APPRENTICE_RAY_TOKEN:-}"


@pytest.mark.parametrize(("name", "table"), [("postgres", "database"), ("ray", "cluster")])
def test_the_settings_of_a_profile_differ_in_its_own_table_alone(name: str, table: str) -> None:
    plain = load_config(CONTAINER / "config.toml", Config)
    config = load_config(CONTAINER / name / "config.toml", Config)
    if table == "database":
        config = config.model_copy(update={"agent": config.agent.model_copy(update={table: plain.agent.database})})
    else:
        config = config.model_copy(update={table: plain.cluster})
    folder = {"folder": plain.toolkit.tools.folder}
    tools = config.toolkit.model_copy(update={"tools": config.toolkit.tools.model_copy(update=folder)})
    assert config.model_copy(update={"toolkit": tools}) == plain


@pytest.mark.parametrize("profiles", [[], ["postgres", "ray"]], ids=["alone", "with profiles"])
@pytest.mark.parametrize("more", [[], ["compose.gpu.yml"]], ids=["cpu", "gpu"])
def test_docker_reads_the_composition(more: list[str], profiles: list[str]) -> None:
    needs("docker", "compose", "version")
    files = [part for name in ("compose.yml", *more) for part in ("-f", str(CONTAINER / name))]
    said = subprocess.run(
        ["docker", "compose", *files, *(f"--profile={one}" for one in profiles), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr


def assert_is_one_pod(objects: dict[str, Any]) -> None:
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert (objects["Deployment"]["spec"]["replicas"], objects["Deployment"]["spec"]["strategy"]["type"]) == (
        1,
        "Recreate",
    )
    assert pod["shareProcessNamespace"]
    assert pod["hostUsers"] is False
    agent, evolver = pod["containers"]
    assert agent["ports"] == [{"name": "http", "containerPort": GatewayConfig().port}]
    assert agent["startupProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert_is_a_command(evolver["command"])
    for container in (agent, evolver):
        rights = container["securityContext"]
        assert (rights["procMount"], rights["allowPrivilegeEscalation"]) == ("Unmasked", False)
        assert rights["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}
    (port,) = objects["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (GatewayConfig().port, "http")
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "data"]
    assert claims == [objects["PersistentVolumeClaim"]["metadata"]["name"]]


def test_the_cluster_runs_one_pod() -> None:
    base = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    files = [*base["resources"], *base["configMapGenerator"][0]["files"]]
    assert {*files, "kustomization.yaml"} == {path.name for path in KUBERNETES.iterdir()}
    objects = [yaml.safe_load((KUBERNETES / name).read_text(encoding="utf-8")) for name in base["resources"]]
    assert_is_one_pod({one["kind"]: one for one in objects})


def test_kustomize_builds_the_base() -> None:
    needs("kubectl", "kustomize", "--help")
    built = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    objects = {one["kind"]: one for one in yaml.safe_load_all(built.stdout)}
    assert_is_one_pod(objects)
    pod = objects["Deployment"]["spec"]["template"]
    named = next(volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if volume["name"] == "config")
    assert named == objects["ConfigMap"]["metadata"]["name"]
    assert objects["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
