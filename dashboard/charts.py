"""Options of ECharts for the pages' charts. ``"custom"`` series named ``whiskers`` are drawn by static/dashboard.js."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.figures.learning import Learning

Option = dict[str, Any]
_GOOD, _REST = "#2a9d5c", "#8a94a6"
"""Green and grey that can be told apart on light and dark pages."""


def learning_curve(found: Learning) -> Option:
    """Return a line for each suite with the 95 % interval of each point, in percent, and a mark at each promotion."""
    series: list[Option] = []
    for curve in found.curves:
        points = [
            [place, round(100 * curve.scores[model].value, 1)]
            for place, model in enumerate(found.models)
            if model in curve.scores
        ]
        whiskers = [
            [place, round(100 * curve.scores[model].low, 1), round(100 * curve.scores[model].high, 1)]
            for place, model in enumerate(found.models)
            if model in curve.scores
        ]
        series.append({"type": "line", "name": curve.suite, "data": points, "symbolSize": 8, "connectNulls": True})
        series.append({"type": "custom", "name": curve.suite, "renderItem": "whiskers", "data": whiskers})
    if series:
        marks = [{"xAxis": found.models.index(name)} for name in found.promoted if name in found.models]
        series[0]["markLine"] = {"symbol": "none", "data": marks, "label": {"formatter": "promoted"}}
    return _chart(list(found.models), "% of the requests", series, over="model", maximum=100)


def lines(labels: Sequence[Any], values: Mapping[str, Sequence[float | None]], unit: str, over: str) -> Option:
    """Return a line for each of ``values`` in ``unit`` over ``labels``; ``over`` names these."""
    series = [
        {"type": "line", "name": name, "data": list(row), "showSymbol": len(labels) < 40, "connectNulls": True}
        for name, row in values.items()
    ]
    return _chart(list(labels), unit, series, over=over)


def flow(links: Sequence[tuple[str, str, int]], good: str) -> Option:
    """Return a flow from sources to targets; a name stands for one node. ``good`` is the target that is wanted."""
    targets = {target for _, target, _ in links}
    colours = {name: _GOOD if name == good else _REST for name in targets}
    names = list(dict.fromkeys(name for source, target, _ in links for name in (source, target)))
    return {
        "tooltip": {"trigger": "item"},
        "series": [
            {
                "type": "sankey",
                "nodeAlign": "left",
                "right": 190,
                "nodeGap": 14,
                "data": [
                    {"name": name, **({"itemStyle": {"color": colours[name]}} if name in colours else {})}
                    for name in names
                ],
                "links": [{"source": one, "target": other, "value": count} for one, other, count in links],
                "lineStyle": {"color": "gradient", "opacity": 0.35},
            }
        ],
    }


def _chart(labels: list[Any], unit: str, series: list[Option], *, over: str, maximum: float | None = None) -> Option:
    """Return a chart whose axes have names: ``unit`` above the upright one, from the left edge on, and ``over`` below
    the other."""
    return {
        "grid": {"left": 8, "right": 24, "top": 36, "bottom": 60, "containLabel": True},
        "legend": {"bottom": 0, "type": "scroll"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": labels, "name": over, "nameLocation": "middle", "nameGap": 28},
        "yAxis": {
            "type": "value",
            "name": unit,
            "nameTextStyle": {"align": "left"},
            "min": 0,
            **({"max": maximum} if maximum else {}),
        },
        "series": series,
    }
