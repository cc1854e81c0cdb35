"""The dashboard in a real browser, as a person uses it. SCREENSHOTS=FOLDER keeps what the first test sees."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.adapters import active
from agent.config import Config
from agent.log.interaction_log import InteractionLog
from agent.serving import serving_state
from agent.serving.gateway.access import api_keys
from agent.serving.gateway.agent.chat_completions import AgentModel
from agent.serving.gateway.agent.turns import AgentTurns, SharedTools
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.serving_state import ServingState
from agent.serving.shadow import switches
from agent.serving.shadow.agreement import Comparison
from agent.serving.shadow.agreement_log import AgreementLog
from agent.serving.upstreams.connection import Upstream
from evolver.maintenance.audit import read_verdicts
from evolver.store.ledger import Ledger
from tests.fakes.agent_gateway import Tooled
from tests.fakes.browser import chromium
from tests.fakes.dashboard_world import gateway, old_folder
from tests.fakes.evolution import publish_adapter, turn
from tests.fakes.model_gateway import KEY, running
from tests.fakes.model_server import ModelServer, Says
from toolkit.config import ToolkitConfig

PAGES = (
    "", "cycles", "cycles/2", "cycles/2/traces", "adapters", "adapters/compare?one=base&other=adapter-0001", "releases",
    "live", "conversations", "chat", "tools", "evals?model=base", "shadow", "settings",
)  # fmt: skip
CUT_OFF = """() => [
    ...[...document.querySelectorAll("nav a")].map((one) => [one, document.documentElement]),
    ...[...document.querySelectorAll("[data-chart]:not([data-chart*=flow]) svg text")]
        .map((one) => [one, one.ownerSVGElement]),
].filter(([one, around]) => {
    const [inner, outer] = [one, around].map((element) => element.getBoundingClientRect());
    return inner.left < outer.left - 1 || inner.right > outer.right + 1;
}).map(([one]) => one.textContent)"""
"""Links and labels of charts that are not wholly visible."""
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}


@dataclass
class Place:
    """The dashboard at ``url``; ``says``: the next replies of the model, in order."""

    data: Path
    url: str
    log: InteractionLog
    says: list[Says] = field(default_factory=list)

    def said(self, request: str, *calls: Any, **rest: Any) -> str:
        return self.log.append(turn(request, *calls, **rest), session="talk", source="gateway")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def place(folder: Path, **settings: Any) -> Iterator[Place]:
    data = old_folder(folder)
    tools = Tooled()

    @contextmanager
    def opened(_: ToolkitConfig) -> Iterator[Tooled]:
        yield tools

    says: list[Says] = []
    with (
        InteractionLog(data / "interactions.db") as log,
        ModelServer(script=lambda _: says.pop(0), key=KEY) as server,
    ):
        found = Place(data, "", log, says)
        here = gateway(data, log=CaptureLog(log), **settings)
        here.pool.replace([Upstream(server.url, KEY)])
        with running(here) as url:
            found.url = f"{url}/ui"
            shared = SharedTools(ToolkitConfig(), opened)  # type: ignore[arg-type]
            here.agent = AgentModel(AgentTurns(Config(data_folder=data), log, url, here.own_key, shared), here.metrics)
            serving_state.write(
                data, ServingState(pid=os.getpid(), gateway_url=url, vllm_url=server.url, vllm_pid=1, vllm_key=KEY)
            )
            yield found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    with place(tmp_path) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    yield opened
    opened.close()


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE), ("dark", DESK)], ids=str)
def test_every_page_is_drawn_without_a_complaint_and_fits(
    here: Place, browser: Browser, scheme: Any, size: dict[str, int]
) -> None:
    here.said("Into how many boxes of 6 do 81 eggs go?", ("box_count", {"eggs": 81}, 14), adapter="adapter-0001")
    context = browser.new_context(color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    foreign: list[str] = []
    page.on("request", lambda asked: foreign.append(asked.url) if not asked.url.startswith(here.url) else None)
    for path in PAGES:
        page.goto(f"{here.url}/{path}")
        for chart in page.locator("[data-chart]").all():
            expect(chart).to_have_attribute("data-drawn", "yes") if path != "cycles/2" else chart.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        assert page.evaluate(CUT_OFF) == [], path
        if folder := os.environ.get("SCREENSHOTS"):
            name = path.partition("?")[0].replace("/", "-") or "overview"
            page.screenshot(path=Path(folder) / f"{name}-{scheme}-{size['width']}.png")
    assert complaints == []
    assert foreign == []
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 384) is (scheme == "dark")
    context.close()


def test_the_theme_that_was_chosen_stays(here: Place, page: Page) -> None:
    page.goto(f"{here.url}/")
    page.click("#theme")
    chosen = page.get_attribute("html", "data-theme")
    page.goto(f"{here.url}/cycles")
    assert chosen in ("light", "dark")
    assert page.get_attribute("html", "data-theme") == chosen


def test_one_drills_down_from_the_curve_to_a_dropped_trace(here: Place, page: Page) -> None:
    judged = read_verdicts(here.data / "cycles" / "0002")
    wanted = next(one for one in judged if one.verdict.reason == "duplicate")
    page.goto(f"{here.url}/")
    for chart in page.locator("[data-chart]").all():
        expect(chart).to_have_attribute("data-drawn", "yes")
    expect(page.locator("[data-chart] svg path").nth(5)).to_be_attached()
    page.click("nav >> text=Cycles")
    page.click("#cycles >> a:text-is('2')")
    page.click("#reasons >> text=duplicate")
    page.click(f"#traces >> text={wanted.trace.request}")
    expect(page.locator("#verdict")).to_contain_text("A request in the same words is a lesson already.")
    expect(page.locator("#request")).to_have_text(wanted.trace.request)


def test_one_calls_an_answer_good_then_bad_and_says_what_is_right(here: Place, page: Page) -> None:
    identity = here.said("add 3 and 4", ("add_prices", {"first": 3, "second": 5}, 8))
    page.goto(f"{here.url}/conversations")
    page.click("#turns >> text=add 3 and 4")
    page.click("button:text-is('Good')")
    expect(page.locator("article .state.good")).to_be_visible()  # the page is the one after the click
    page.click("summary:text-is('Bad')")
    right = [{"name": "add_prices", "arguments": {"first": 3, "second": 4}}]
    page.fill("textarea[name=expected]", json.dumps(right))
    page.click("button:text-is('Bad')")
    expect(page.locator("article")).to_contain_text("Right would have been")
    found = here.log.find(identity)
    assert found is not None
    assert [word.verdict for word in found.feedback] == ["good", "bad"]
    assert json.loads(found.feedback[1].expected) == right


def test_one_approves_and_rolls_back(here: Place, page: Page) -> None:
    with Ledger(here.data / "evolution.db") as ledger:
        number = ledger.open_cycle().number
        ledger.add_adapter(publish_adapter(here.data, "adapter-0003"), number, "adapter-0001", "d")
        ledger.set_adapter_state("adapter-0003", "waiting")
        ledger.end_cycle(number, "waiting", "waits for: evolver approve")
    serving_state.remove(here.data, os.getpid())  # no server: nothing is loaded
    page.goto(f"{here.url}/")
    page.click("#waits >> text=adapter-0003")
    page.click("[id='adapter-0003'] summary:text-is('Approve')")
    page.click("[id='adapter-0003'] form button:text-is('Approve')")
    expect(page.locator("[id='adapter-0003']")).to_contain_text("serves")
    assert active.read(here.data).name == "adapter-0003"
    page.click("nav >> text=Releases")
    page.click("summary:text-is('Roll back')")
    page.click("form button:text-is('Roll back')")
    expect(page.locator("#serves")).to_have_text("adapter-0001")
    assert active.read(here.data).name == "adapter-0001"


def test_one_promotes_the_adapter_of_a_tenant_and_rolls_it_back(here: Place, page: Page) -> None:
    with Ledger(here.data / "evolution.db", tenant="sales") as ledger:
        number = ledger.open_cycle().number
        ledger.add_adapter(publish_adapter(here.data, "adapter-0003", tenant="sales"), number, "adapter-0001", "d")
        ledger.end_cycle(number, "rejected", "not better")
    serving_state.remove(here.data, os.getpid())  # no server: nothing is loaded
    page.goto(f"{here.url}/adapters")
    page.click("[id='adapter-0003'] summary:text-is('Promote')")
    sentence = "adapter-0003 will answer all sessions of sales from the next turn on, whatever the gate said."
    expect(page.locator("[id='adapter-0003'] form p").first).to_have_text(sentence)
    page.click("[id='adapter-0003'] form button:text-is('Promote')")
    expect(page.locator("[id='adapter-0003']")).to_contain_text("serves sales")
    served = {tenant: active.serving(here.data, tenant).name for tenant in ("", "sales", "care")}
    assert served == {"": "adapter-0001", "sales": "adapter-0003", "care": "adapter-0001"}
    page.click("nav >> text=Releases")
    expect(page.locator("#serves")).to_have_text("adapter-0001")
    page.click("#tenants >> text=sales")
    expect(page.locator("#serves")).to_have_text("adapter-0003")
    page.click("summary:text-is('Roll back')")
    page.click("form button:text-is('Roll back')")
    expect(page.locator("#serves")).to_have_text("shared")
    expect(page.locator("#tenant")).to_have_text("sales")
    assert active.read(here.data, "sales").name == active.SHARED
    assert active.read(here.data).name == "adapter-0001"


def test_one_sees_the_agreement_and_switches_a_tool_over_and_back(tmp_path: Path, page: Page) -> None:
    with place(tmp_path) as here:
        with AgreementLog(here.data / "interactions.db") as log:
            for _ in range(200):
                log.add(
                    [Comparison("weather", same_call=True, same_arguments=True)], adapter="adapter-0001", upstream="x"
                )
        page.goto(f"{here.url}/shadow")
        page.click("#agreement button:text-is('Switch')")
        expect(page.locator("#agreement tbody tr")).to_contain_text("apprentice (chosen)")
        assert switches.read(here.data).tools == {"weather": "ours"}
        page.click("#agreement button:text-is('Switch back')")
        expect(page.locator("#agreement tbody tr")).to_contain_text("the other server (chosen)")
        assert switches.read(here.data).tools == {"weather": "upstream"}


def test_one_talks_to_it_and_sees_its_calls(here: Place, page: Page) -> None:
    here.says += [Says("", calls=[("add", '{"a": 1, "b": 2}')]), Says("It is <b>3</b>.")]
    page.goto(f"{here.url}/chat")
    page.fill("#say input", "1 + 2?")
    page.press("#say input", "Enter")
    expect(page.locator("article[data-done]")).to_be_visible()
    expect(page.locator("code.call")).to_have_text('add {"a": 1, "b": 2}')
    expect(page.locator("code.result")).to_have_text("3")
    expect(page.locator(".answer")).to_have_text("It is <b>3</b>.")
    page.click(".judge button:text-is('bad')")
    expect(page.locator(".judge")).to_have_text("You called it bad.")
    (logged,) = [one for one in here.log.read() if one.source == "apprentice"]
    assert [word.verdict for word in logged.feedback] == ["bad"]


def test_a_long_table_is_filtered_by_words(here: Place, page: Page) -> None:
    for path, table, words in (("tools", "#tools", "days BETWEEN"), ("settings", "#configuration", "gateway port")):
        page.goto(f"{here.url}/{path}")
        rows = page.locator(f"{table} tbody tr")
        total = rows.count()
        field = page.locator(f"[data-filter={table[1:]}]")
        field.fill(words)
        left = [text.lower() for text in rows.filter(visible=True).all_inner_texts()]
        assert 0 < len(left) < total
        assert all(word in text for text in left for word in words.lower().split())
        expect(page.locator(".filter output")).to_have_text(f"{len(left)} of {total}")
        field.fill("")
        expect(rows.filter(visible=True)).to_have_count(total)


def test_buttons_look_like_buttons_and_dates_stand_on_one_line(here: Place, page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(f"{here.url}/adapters")
    button = page.locator("summary:text-is('Pin')").first
    background = button.evaluate("one => getComputedStyle(one).backgroundColor")
    assert background not in ("rgba(0, 0, 0, 0)", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert button.evaluate("one => getComputedStyle(one).textAlign") == "center"
    assert button.evaluate("one => one.getBoundingClientRect().width") < 120
    for path in ("cycles", "releases", "conversations"):
        page.goto(f"{here.url}/{path}")
        date = page.locator("td.when").first
        lines = (
            "one => { const range = document.createRange(); range.selectNodeContents(one);"
            " return range.getClientRects().length; }"
        )
        assert date.evaluate(lines) == 1, path


def test_a_script_in_what_was_said_stays_text(here: Place, page: Page) -> None:
    attack = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    identity = here.said(attack, ("add_prices", {"first": attack}, attack), answer=attack)
    with Ledger(here.data / "evolution.db") as ledger:
        ledger.mark_adapter("adapter-0001", attack)
        ledger.put_setting("paused", attack)
    for path in ("", "conversations", f"conversations/{identity}", "adapters", "settings", "tools"):
        page.goto(f"{here.url}/{path}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hacked") is None, path
        expect(page.locator("img"), path).to_have_count(0)


def test_one_signs_in_sees_all_and_is_refused_what_the_key_may_not(
    tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with place(tmp_path, require_key=True) as here:
        page.goto(f"{here.url}/adapters")
        page.fill("input[name=key]", "apprentice-wrong")
        page.click("main button")
        expect(page.locator("[role=alert]")).to_contain_text("no API key")
        page.goto(f"{here.url}/login")
        page.fill("input[name=key]", api_keys.create(here.data, "reader", ["read"]))
        page.click("main button")
        expect(page.locator("h1")).to_have_text("Does it get better?")
        page.goto(f"{here.url}/adapters")
        expect(page.locator("main form[method=post]")).to_have_count(0)
        refused = page.evaluate(
            "url => fetch(url, {method: 'POST'}).then(answer => answer.status)", f"{here.url}/releases/roll-back"
        )
        assert refused == 403
        assert active.read(here.data).name == "adapter-0001"
        api_keys.revoke(here.data, "reader")
        page.goto(f"{here.url}/")
        expect(page.locator("h1")).to_have_text("Sign in")


def test_what_happens_meanwhile_shows_itself(here: Place, page: Page) -> None:
    page.goto(f"{here.url}/")
    before = int(page.inner_text("#requests").split()[0])
    here.said("one more")
    expect(page.locator("#requests")).to_contain_text(str(before + 1))
    page.goto(f"{here.url}/live")
    of_another = page.locator("#hours tbody tr").filter(has_text="adapter-0002")
    expect(of_another).to_have_count(0)
    here.said("and one by another", adapter="adapter-0002")
    expect(of_another).to_have_count(1)
