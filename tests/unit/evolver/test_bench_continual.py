"""The benchmark of continual learning: what arrives when, who is asked what, and a page of what was measured."""

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import continual
from benchmarks.ablations import FULL
from benchmarks.continual import RUNS, SMALL, WAYS, publish
from benchmarks.continual_batches import apart, arrivals, plan
from benchmarks.continual_page import (
    BEGIN,
    END,
    Arrival,
    ContinualRound,
    Scores,
    compared,
    forgotten,
    matrix,
    replaced,
    section,
    soft_gain,
)
from benchmarks.continual_picture import HEIGHT, WIDTH, picture
from benchmarks.continual_round import Setup
from benchmarks.evolution import write_config
from evolver.config import Config
from evolver.evaluation.suites import Item
from evolver.statistics import rate
from evolver.store.jsonl import append_lines
from evolver.types import Call
from toolkit.config import load_config
from toolkit.errors import UserError

ROOT = Path(__file__).parents[3]
FAMILIES = {f"family_{n}": [f"tool_{n}_{k}" for k in range(4)] for n in range(6)}
WORDS = "amber birch cedar delta ember frost grove hazel inlet jolly karst lemon mango north olive pearl quartz ridge"


def items(source: str, *, talk: int = 9) -> list[Item]:
    asked = [
        Item(
            id=f"{source}-{tool}",
            request=f"{source} {tool} {WORDS.split()[place]} please",
            expected=(Call(name=tool, arguments={}),),
        )
        for place, tools in enumerate(list(FAMILIES.values())[:5])
        for tool in tools
    ]
    return [*asked, *(Item(id=f"{source}-talk-{n}", request=f"{source} talk {WORDS.split()[n]}") for n in range(talk))]


ITEMS: dict[str, Sequence[Item]] = {"heldout": items("heldout"), "develop": items("develop")}


def test_a_batch_is_whole_families_and_none_comes_twice() -> None:
    made = plan(FAMILIES, ITEMS, count=2, size=6, seed=3)
    assert [batch.number for batch in made.batches] == [1, 2]
    modules = [module for batch in made.batches for module in batch.modules]
    assert len(modules) == len(set(modules)) == 4
    assert "family_5" not in modules  # nothing asks for it
    for batch in made.batches:
        assert list(batch.tools) == [tool for module in batch.modules for tool in FAMILIES[module]]
        assert len(batch.tools) >= 6


def test_the_seed_chooses_families_and_sides() -> None:
    first, again, other = (plan(FAMILIES, ITEMS, count=2, size=6, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_no_request_scores_and_is_in_the_log() -> None:
    made = plan(FAMILIES, ITEMS, count=2, size=6, seed=3)
    scoring = {item.request for batch in made.batches for item in batch.scored} | {item.request for item in made.silent}
    assert scoring
    assert made.free
    assert scoring.isdisjoint(made.free)
    assert {item.id for item in made.gate} == {f"heldout-talk-{n}" for n in range(9)}
    for batch in made.batches:
        assert {item.expected[0].name for item in batch.scored} <= set(batch.tools)
        assert len(batch.scored) == round(len(batch.tools) * 2 * 2 / 3)


def test_the_log_gets_no_text_with_nearly_the_words_of_one_that_scores() -> None:
    scored = ["Book the small room for Tuesday at nine"]
    near, far = "book the small room for Tuesday at ten", "Book a table for Tuesday"
    assert apart([near, far], scored) == [far]


def test_more_batches_than_there_are_tools_for_is_one_line() -> None:
    with pytest.raises(UserError, match="enough for 2 batches of 8; ask for fewer"):
        plan(FAMILIES, ITEMS, count=3, size=8, seed=3)


@pytest.mark.parametrize(
    ("batches", "cycles", "expected"), [(6, 6, [1, 2, 3, 4, 5, 6]), (3, 6, [1, 3, 5]), (2, 3, [1, 2]), (1, 4, [1])]
)
def test_batches_arrive_spread_over_the_cycles(batches: int, cycles: int, expected: list[int]) -> None:
    assert arrivals(batches, cycles) == expected


@pytest.mark.parametrize("name", RUNS)
def test_every_key_of_a_run_is_one_of_this_version(tmp_path: Path, name: str) -> None:
    modules = {"toolkit.tools.builtin": False, "toolkit.tools.modules": ["toolkit.builtin.contacts"], "toolkit.mcp": {}}
    path = write_config(ROOT / "config.toml", tmp_path, {**dict(SMALL.changes), **RUNS[name].changes, **modules})
    config = load_config(path, Config)
    assert (config.toolkit.tools.builtin, config.toolkit.mcp) == (False, {})
    assert config.evolver.train.max_minutes == 2.5
    assert list(WAYS) == ["continue", "restart", "average"]
    assert RUNS[FULL].changes == {}, "what the product does"


def scores(hits: int, n: int = 20, **logprobs: float) -> Scores:
    return Scores(exact=rate(hits, n), right_tool=rate(hits, n), logprobs=logprobs)


def one(number: int, batches: dict[int, Scores], before: dict[int, Scores] | None = None) -> ContinualRound:
    return ContinualRound(
        number=number,
        model=f"adapter-{number:04d}" if number else "base",
        where="7 cores",
        when="2031-01-01",
        batches=batches,
        abstention=rate(33, 41),
        status="promoted" if number else "",
        lessons=777 * number,
        arrived=tuple(Arrival(batch=batch, before=found) for batch, found in (before or {}).items()),
    )


ROUNDS = [
    one(0, {1: scores(0, a=-9, b=-8)}, {1: scores(0)}),
    one(1, {1: scores(12, a=-3, b=-4)}, {1: scores(0)}),
    one(2, {1: scores(10, a=-2, b=-4, c=0), 2: scores(13)}, {2: scores(4)}),
]


def test_the_matrix_has_what_a_batch_was_before_its_first_cycle() -> None:
    assert matrix(ROUNDS) == {1: {0: 0.0, 1: 0.6, 2: 0.5}, 2: {1: 0.2, 2: 0.65}}


def test_forgotten_is_what_old_batches_lost_since_their_best() -> None:
    assert forgotten(ROUNDS) == {1: pytest.approx(10)}
    assert forgotten(ROUNDS[:2]) == {}


def test_the_soft_gain_is_over_the_requests_of_both() -> None:
    found = soft_gain(ROUNDS[0], ROUNDS[2])
    assert found is not None
    assert found[0] == pytest.approx(5.5)
    assert found[2] == 2
    assert found[1] < 0.1
    assert soft_gain(one(1, {2: scores(3, d=-1)}), ROUNDS[2]) is None


def test_every_figure_of_the_section_was_measured() -> None:
    text = section({"With replay": ROUNDS, "Other": []}, "Made so.", "continual.svg")
    assert text.startswith("Made so.")
    assert "(continual.svg)" in text
    assert text.endswith("Not run: Other.")
    row = next(line for line in text.splitlines() if line.startswith("| 2 |"))
    assert "20 → 65" in row
    assert "23/40" in row
    assert "+5.50 nats" in row
    assert "batch 1 +10" in text
    assert [line.count("|") for line in text.splitlines() if line.startswith("|")] == [11] * 5


def test_bfcl_has_a_row_for_each_category() -> None:
    rounds = [one(0, {1: scores(0)}).model_copy(update={"bfcl": {"multiple": rate(3, 71)}}), one(1, {1: scores(9)})]
    assert "| `multiple` | 3/71 (1–12) | – |" in section({"With replay": rounds}, "")


def test_a_section_without_runs_names_them_and_shows_no_picture() -> None:
    assert section({"A": [], "B": []}, "So.", "x.svg") == "So.\n\nNot run: A, B."


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    for broken in ("nothing", f"{END}\n{BEGIN}", page + page):
        with pytest.raises(UserError, match="put them back"):
            replaced(broken, "new")


def test_the_shipped_page_has_the_marks() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert replaced(page, "x").count("x") >= 1


def test_the_picture_is_well_formed_and_shows_each_batch_within_its_panel() -> None:
    text = picture({"With <replay>": ROUNDS, "Not run": []})
    drawing = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert drawing.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    paths = list(drawing.iter(f"{space}path"))
    assert [path.get("class") for path in paths] == ["b0", "b1", "all"]
    points = [float(number) for path in paths for number in re.findall(r"[\d.]+", path.get("d", ""))]
    assert all(0 <= x <= WIDTH for x in points[::2])
    assert all(0 <= y <= HEIGHT for y in points[1::2])
    assert [len(re.findall(r"[ML]", path.get("d", ""))) for path in paths] == [3, 2, 3]
    assert "prefers-color-scheme: dark" in text
    named = {label.text for label in drawing.iter(f"{space}text")}
    assert {"batch 1", "batch 2", "all", "base"} <= named
    assert "background" not in text


def test_labels_at_the_right_do_not_cover_one_another() -> None:
    same = [one(0, {n: scores(0) for n in range(1, 7)}), one(1, {n: scores(0) for n in range(1, 7)})]
    found = re.findall(r'class="t?\d?" x="\d+" y="([\d.]+)"', picture({"a": same}))
    heights = sorted(map(float, found))
    assert len(heights) == 7
    assert all(b - a > 10 for a, b in pairwise(heights))


def test_what_has_run_is_written_into_the_page_and_drawn_beside_it(tmp_path: Path) -> None:
    page, drawn = tmp_path / "new" / "results.md", tmp_path / "new" / "continual.svg"
    publish(tmp_path, Setup(), page, drawn)
    assert "Not run: With replay" in page.read_text()
    assert not drawn.exists()
    page.write_text(f"# Own words\n{BEGIN}\n{END}\n")
    append_lines(tmp_path / "seed-7" / FULL / "rounds.jsonl", ROUNDS)
    append_lines(tmp_path / "seed-8" / FULL / "rounds.jsonl", ROUNDS[:2])
    publish(tmp_path, Setup(), page, drawn)
    assert page.read_text().startswith("# Own words")
    titles = [line for line in page.read_text().splitlines() if line.startswith("### ")]
    assert titles == ["### Side by side", "### With replay, seed 7", "### With replay, seed 8"]
    assert drawn.read_text().startswith("<svg")


def asked(*arguments: str) -> tuple[list[str], int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["continual", *arguments])
        found = continual._arguments()
    return continual._names(found), found.seed


def test_a_way_runs_with_the_full_run_that_it_is_compared_with() -> None:
    assert asked() == ([FULL, "no-replay"], 7)
    assert asked("--way", "average", "--seed", "8") == ([FULL, "average"], 8)
    assert asked("--way", "restart", "--way", "continue") == ([FULL, "restart", "continue"], 7)
    assert asked("--run", "learn-against") == (["learn-against"], 7)
    with pytest.raises(SystemExit):
        asked("--way", "no-replay")


def test_a_way_differs_from_the_full_run_in_nothing_else(tmp_path: Path) -> None:
    full, *others = (
        load_config(write_config(ROOT / "config.toml", tmp_path / name, dict(RUNS[name].changes)), Config).evolver
        for name in (FULL, "continue", "restart", "average")
    )
    assert [one.train.start for one in others] == ["parent", "base", "base"]
    assert [one.dataset.replay_share for one in others] == [0.2, 1.0, 0.2]
    for one in others:
        same = one.model_copy(update={"train": full.train, "dataset": full.dataset})
        assert same == full


def test_runs_stand_side_by_side_with_those_of_their_seed() -> None:
    shorter = [*ROUNDS[:1], one(1, {1: scores(16, a=-1, b=-2)}, {1: scores(0)})]
    runs = {
        "Full, seed 7": ROUNDS,
        "Other, seed 7": shorter,
        "Full, seed 8": ROUNDS,
        "Other, seed 8": ROUNDS,
    }
    found = compared(runs)
    assert [one.number for one, _ in found.values()] == [1, 1, 2, 2]
    gain = found["Other, seed 7"][1]
    assert gain is not None
    assert (gain[0], gain[2]) == (pytest.approx(2), 2)
    assert found["Full, seed 7"][1] is found["Full, seed 8"][1] is None
    rows = [line for line in section(runs, "").splitlines() if line.startswith(("| Full", "| Other"))]
    assert rows[1].startswith("| Other, seed 7 | 1 | 16/20 (58–92) |")
    assert rows[1].endswith("| 33/41 (66–90) | +2.00 nats, p = 0, n = 2 |")
    assert rows[-2:] == [
        "| Full, 2 seeds | | mean 58.8, 57.5 to 60.0 | | | |",
        "| Other, 2 seeds | | mean 68.8, 57.5 to 80.0 | | | |",
    ]
    assert "Side by side" not in section({"Full, seed 7": ROUNDS}, "")


def test_many_runs_are_drawn_in_rows() -> None:
    drawing = ElementTree.fromstring(picture({str(n): ROUNDS for n in range(5)}))
    assert drawing.get("viewBox") == f"0 0 {2 * WIDTH} {3 * HEIGHT}"
    places = [group.get("transform") for group in drawing.iter("{http://www.w3.org/2000/svg}g")]
    assert places[:3] == ["translate(0 0)", f"translate({WIDTH} 0)", f"translate(0 {HEIGHT})"]
    assert len(set(places)) == 5


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("scheme", "page"), [("light", "#ffffff"), ("dark", "#0d1117")])
def test_lines_and_words_stand_out_on_a_light_and_on_a_dark_page(scheme: str, page: str) -> None:
    """Contrast of WCAG 2.1: 3 for graphics, 4.5 for text. Every class that is drawn has a colour in both schemes."""
    text = picture({"a": [one(0, {n: scores(0) for n in range(1, 9)}), one(1, {n: scores(n) for n in range(1, 9)})]})
    style = re.findall(r"<style>(.*)</style>", text)[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    rules = dict(re.findall(r"([.\w]+)\{(?:stroke|fill):(#\w{6})\}", light if scheme == "light" else dark))
    drawn = set(re.findall(r'class="(\w+)"', text)) - {"grid"}
    assert {f".{name}" for name in drawn} <= rules.keys()
    assert len(drawn) == 17
    for name, colour in rules.items():
        low, high = sorted((luminance(colour), luminance(page)))
        needed = 4.5 if name == "text" or name.startswith(".t") else 3
        assert (high + 0.05) / (low + 0.05) >= needed, (name, colour)
