"""The picture of the benchmark of continual learning: exact calls on each batch after each cycle, as SVG.

It has no background, and its colours change with the reader's scheme, so that it is readable in light and dark.
"""

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.continual_page import ContinualRound, Runs, matrix

WIDTH, HEIGHT = 420, 300
"""Of one panel; each run has one."""
ABREAST = 2
"""Panels in a row."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 62, 34, 38
_LIGHT = ("#0072b2", "#b84f00", "#007a5a", "#a0468c", "#8a6d00", "#3b6fb6", "#a33f00", "#5b5b9a")
_DARK = ("#56b4e9", "#ff9b5c", "#2fcf9f", "#e79ccb", "#f0d442", "#8fb8f0", "#ffb38a", "#b3b3f0")
_STEPS = (0, 25, 50, 75, 100)
_LEAST_GAP = 11
"""Between two labels at the right."""


def picture(runs: Runs) -> str:
    """Return the picture of the ``runs`` that were measured: a panel each, a line per batch, and a thick one for all
    batches so far. A ring is a batch before its first cycle."""
    measured = {name: rounds for name, rounds in runs.items() if rounds}
    width = WIDTH * min(max(len(measured), 1), ABREAST)
    height = HEIGHT * max(-(-len(measured) // ABREAST), 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="11">',
        "<title>Exact calls on each batch of tools after each cycle</title>",
        f"<style>{_style()}</style>",
    ]
    for place, (name, rounds) in enumerate(measured.items()):
        x, y = place % ABREAST * WIDTH, place // ABREAST * HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *_panel(name, rounds), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _style() -> str:
    def scheme(text: str, grid: str, colours: Sequence[str]) -> str:
        lines = "".join(f".b{n}{{stroke:{c}}}.t{n}{{fill:{c}}}" for n, c in enumerate(colours))
        return f"text{{fill:{text}}}.grid{{stroke:{grid}}}.all{{stroke:{text}}}{lines}"

    common = "path,line{fill:none;stroke-width:1.6}.grid{stroke-width:1}.all{stroke-width:3}circle{fill:none}"
    dark = scheme("#e6e6e6", "#80808055", _DARK)
    return f"{common}{scheme('#1f1f1f', '#80808055', _LIGHT)}@media (prefers-color-scheme: dark){{{dark}}}"


def _panel(name: str, rounds: Sequence[ContinualRound]) -> Iterator[str]:
    last = max([1, *(one.number for one in rounds)])
    yield f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(name)}: exact calls in %</text>'
    yield from _axes(last)
    cells = matrix(rounds)
    ends: list[tuple[float, str, str]] = []
    for place, (batch, row) in enumerate(cells.items()):
        colour = place % len(_LIGHT)
        yield f'<path class="b{colour}" d="{_path(row, last)}"/>'
        begun = min(row)
        yield f'<circle class="b{colour}" cx="{_x(begun, last):.1f}" cy="{_y(row[begun]):.1f}" r="3"/>'
        ends.append((row[max(row)], f"batch {batch}", f"t{colour}"))
    whole = {one.number: one.whole.value for one in rounds}
    yield f'<path class="all" d="{_path(whole, last)}"/>'
    ends.append((whole[max(whole)], "all", ""))
    yield from _labels(ends)


def _axes(last: int) -> Iterator[str]:
    for step in _STEPS:
        y = _y(step / 100)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step}</text>'
    for number in range(last + 1):
        text = number or "base"
        yield f'<text x="{_x(number, last):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{text}</text>'
    yield f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">cycle</text>'


def _labels(ends: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    """Names of the lines at their right ends, moved apart where they would cover one another."""
    lowest = HEIGHT - _BOTTOM + 4.0
    placed: list[tuple[float, str, str]] = []
    for value, text, kind in sorted(ends):
        lowest = min(_y(value) + 4, lowest)
        placed.append((lowest, text, kind))
        lowest -= _LEAST_GAP
    for y, text, kind in placed:
        yield f'<text class="{kind}" x="{WIDTH - _RIGHT + 6}" y="{y:.1f}">{escape(text)}</text>'


def _path(row: Mapping[int, float], last: int) -> str:
    return "M" + " L".join(f"{_x(number, last):.1f} {_y(value):.1f}" for number, value in sorted(row.items()))


def _x(number: int, last: int) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * number / last


def _y(share: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)
