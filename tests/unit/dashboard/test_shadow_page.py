"""The page of shadow mode: the agreement by tool, the threshold, and who answers."""

from pathlib import Path

import pytest

from agent.config import AgentConfig, Config, ServingConfig, ShadowConfig
from agent.serving.gateway.app import Gateway
from agent.serving.shadow import switches
from agent.serving.shadow.agreement import Comparison
from agent.serving.shadow.agreement_log import AgreementLog
from dashboard.app import pages
from tests.fakes.dashboard_world import Visitor

UNDECIDED = "–"


def compared(data: Path, tool: str, *pairs: tuple[bool, bool], adapter: str = "adapter-0001") -> list[int]:
    """Store a comparison for each pair of (same call, same arguments)."""
    found = [Comparison(tool, same_call=call, same_arguments=arguments) for call, arguments in pairs]
    with AgreementLog(data / "interactions.db") as log:
        return log.add(found, adapter=adapter, upstream="theirs")


def note(data: Path, number: int, *, same: bool) -> None:
    with AgreementLog(data / "interactions.db") as log:
        log.note_result(number, same=same)


@pytest.fixture
def visitor(data: Path, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Of a dashboard in whose configuration ten comparisons and 60 % are needed."""
    shadow = ShadowConfig(url="https://example.com", model="theirs", threshold=0.6, minimum_calls=10)
    config = Config(data_folder=data, agent=AgentConfig(serving=ServingConfig(shadow=shadow)))

    def gateway(data: Path, **_: object) -> Gateway:
        return Gateway(data, config.agent.serving.gateway, pages={"/ui": lambda access: pages(config, access)})

    monkeypatch.setattr("tests.fakes.dashboard_world.gateway", gateway)
    return Visitor(data)


def test_the_agreement_is_shown_by_call_argument_and_result(data: Path, visitor: Visitor) -> None:
    compared(data, "weather", *[(True, True)] * 10)
    numbers = compared(data, "refund", (True, False), (True, False), (False, False), (True, True))
    note(data, numbers[0], same=True)
    note(data, numbers[1], same=False)
    compared(data, "", (True, True))
    compared(data, "weather", (False, False), adapter="base")
    seen = visitor.get("/shadow")
    rows = {row[0]: row[1:9] for row in seen.rows("agreement")}
    whole = "100.0% (10/10, 72–100)"
    assert rows == {
        "weather": ["adapter-0001", "10", whole, whole, UNDECIDED, whole, "reached", "the other server"],
        "refund": [
            "adapter-0001", "4", "75.0% (3/4, 30–95)", "25.0% (1/4, 5–70)", "50.0% (1/2, 9–91)", "50.0% (2/4, 15–85)",
            "not reached", "the other server",
        ],
        "(no call)": ["adapter-0001", "1", *["100.0% (1/1, 21–100)"] * 2, UNDECIDED, "100.0% (1/1, 21–100)",
            UNDECIDED, "the other server",
        ],
    }  # fmt: skip
    assert [row[:2] for row in seen.rows("earlier")] == [["weather", "base"]]
    assert "theirs at https://example.com" in seen.of("upstream")
    assert "10 comparisons and a lower bound of 60.0%" in seen.of("upstream")


def test_a_tool_is_switched_over_and_back(data: Path, visitor: Visitor) -> None:
    compared(data, "weather", *[(True, True)] * 10)
    seen = visitor.press("/shadow/switch", tool="weather")
    assert seen.rows("agreement")[0][8] == "apprentice (chosen)"
    assert switches.read(data).tools == {"weather": "ours"}
    seen = visitor.press("/shadow/switch-back", tool="weather")
    assert seen.rows("agreement")[0][8] == "the other server (chosen)"
    assert switches.read(data).tools == {"weather": "upstream"}


def test_a_switched_tool_can_be_switched_back_under_an_adapter_that_was_not_compared(
    data: Path, visitor: Visitor
) -> None:
    switches.choose(data, "weather", "ours")
    seen = visitor.get("/shadow")
    assert "weather" in seen.of("uncompared")
    assert "/ui/shadow/switch-back" in seen.actions
    assert "uncompared" not in visitor.press("/shadow/switch-back", tool="weather").text
    assert switches.read(data).tools == {"weather": "upstream"}


@pytest.mark.parametrize(("tool", "status"), [("refund", 409), ("unknown", 409), ("", 400), ("x" * 300, 400)])
def test_below_the_threshold_nothing_is_switched(data: Path, visitor: Visitor, tool: str, status: int) -> None:
    compared(data, "refund", (True, False), (True, True))
    assert visitor.press("/shadow/switch", tool=tool).status == status
    assert switches.read(data).tools == {}


def test_a_key_that_may_only_read_sees_no_button(data: Path) -> None:
    compared(data, "weather", *[(True, True)] * 300)
    visitor = Visitor(data, require_key=True)
    visitor.sign_in("read")
    assert visitor.get("/shadow").status == 200
    assert visitor.get("/shadow").actions.isdisjoint({"/ui/shadow/switch", "/ui/shadow/switch-back"})
    assert visitor.press("/shadow/switch", tool="weather").status == 403


def test_without_another_server_the_page_says_how_to_name_one(data: Path) -> None:
    seen = Visitor(data).get("/shadow")
    assert "[agent.serving.shadow] url" in seen.of("upstream")
    assert "Nothing was compared" in seen.text
