"""Boards and alerts of deploy/: parsed here, and checked by promtool where it is installed."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from agent.config import GatewayConfig, ShadowConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.gateway.shadow import Shadow
from agent.serving.shadow.agreement_log import AgreementLog
from agent.serving.upstreams.connection import Upstream
from tests.fakes.deploy_files import DEPLOY, needs


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads((DEPLOY / "grafana" / "apprentice.json").read_text(encoding="utf-8"))["panels"]


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in rules()},
    **{f"{one['title']} {target['refId']}": target["expr"] for one in panels() for target in one["targets"]},
}


_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of every figure that the gateway has, by its name."""
    folder = tmp_path_factory.mktemp("data")
    with InteractionLog(folder / "interactions.db") as log:
        gateway = Gateway(folder, log=CaptureLog(log))
        registry = gateway.metrics.registry
        with AgreementLog(folder / "interactions.db") as agreements:
            shadow = ShadowConfig(url="http://127.0.0.1:1", model="another")
            Shadow(shadow, Upstream(shadow.url, ""), folder, gateway.proxy, agreements)
        families = list(registry.collect())
        labels = {names[0]: set(one._labelnames) for one, names in registry._collector_to_names.items()}  # type: ignore[attr-defined]
    assert len(families) > 10
    return {
        f"{family.name}{suffix}": labels[family.name] | ({"le"} if suffix == "_bucket" else set())
        for family in families
        for suffix in _SUFFIXES[family.type]
    }


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_boards_and_alerts_name_only_figures_and_labels_that_exist(title: str, measured: dict[str, set[str]]) -> None:
    expression = EXPRESSIONS[title]
    names = set(re.findall(r"\b(?:apprentice_\w+|up)\b", expression.replace('job="apprentice"', "")))
    assert names
    assert names - measured.keys() - {"up"} == set()
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    grouped = {word.strip() for found in re.findall(r"by \(([^)]*)\)", expression) for word in found.split(",")}
    known = {"job", "instance"}.union(*(measured.get(name, set()) for name in names))
    assert (matched | grouped) - known == set()


def test_every_figure_is_on_the_board(measured: dict[str, set[str]]) -> None:
    shown = " ".join(EXPRESSIONS.values())
    figures = {re.sub(r"_(bucket|sum|count)$", "", name) for name in measured}
    assert [name for name in sorted(figures) if name not in shown] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "fix"}
    assert all(text.endswith(".") for text in rule["annotations"].values())


def test_promtool_reads_the_rules() -> None:
    needs("promtool", "--version")
    said = subprocess.run(
        ["promtool", "check", "rules", str(DEPLOY / "prometheus" / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_board_has_a_place_for_every_panel() -> None:
    places = [(one["gridPos"]["x"], one["gridPos"]["y"], one["gridPos"]["w"], one["gridPos"]["h"]) for one in panels()]
    cells = [(x + dx, y + dy) for x, y, w, h in places for dx in range(w) for dy in range(h)]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({one["id"] for one in panels()}) == len(places)


def test_prometheus_asks_the_gateways_port() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yml").read_text(encoding="utf-8"))
    (job,) = scraped["scrape_configs"]
    assert job["job_name"] == "apprentice"
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{GatewayConfig().port}"]}]
    assert scraped["rule_files"] == ["alerts.yml"]
