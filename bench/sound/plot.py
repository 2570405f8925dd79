"""Bar charts as SVG text: one group of bars a condition, one colour a choice. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 760
_HEIGHT, _TOP, _LEFT, _BOTTOM = 300, 54, 48, 62
_COLOURS: Final = ("#8a8a8a", "#2f6fb5", "#d9822b", "#4a9a5c")


def bars(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], unit: str = " %"
) -> str:
    """Percentages, or values in `unit`: `series` has, by choice, one value a group; `|` in a
    group's name is a new line. A bar over 120 % is cut, its number stays.

    Raises ValueError when a series has another length than the groups.
    """
    if any(len(values) != len(groups) for values in series.values()):
        raise ValueError("a series has a value for every group")
    every = [value for values in series.values() for value in values]
    top = _top(every) if unit == " %" else max(1.0, *every)
    plot_h, plot_w = _HEIGHT - _TOP - _BOTTOM, WIDTH - _LEFT - 12
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        y = _TOP + plot_h - plot_h * step / 4
        out.append(
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - 12}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}{unit}</text>'
        )
    group_w = plot_w / len(groups)
    bar_w = group_w * 0.8 / len(series)
    for s, (name, values) in enumerate(series.items()):
        colour, x = _COLOURS[s % len(_COLOURS)], _LEFT + 130 * s
        out.append(
            f'<rect x="{x}" y="30" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 15}" y="39">{escape(name)}</text>'
        )
        for g, value in enumerate(values):
            height = plot_h * min(value, top) / top
            left = _LEFT + g * group_w + group_w * 0.1 + s * bar_w
            y = _TOP + plot_h - height
            out.append(
                f'<rect x="{left:.1f}" y="{y:.1f}" width="{bar_w - 1:.1f}" '
                f'height="{height:.1f}" fill="{colour}"/>'
                f'<text x="{left + bar_w / 2:.1f}" y="{y - 3:.1f}" font-size="8" '
                f'text-anchor="middle">{value:.0f}</text>'
            )
    for g, group in enumerate(groups):
        middle = _LEFT + (g + 0.5) * group_w
        for n, word in enumerate(group.split("|")):
            out.append(
                f'<text x="{middle:.1f}" y="{_TOP + plot_h + 16 + 13 * n}" '
                f'text-anchor="middle">{escape(word)}</text>'
            )
    return "\n".join([*out, "</svg>", ""])


def _top(values: Sequence[float]) -> float:
    """The axis: to the largest value, at most 120 %."""
    largest = max(values, default=0.0)
    return next((float(t) for t in (10, 20, 40, 60, 80, 100) if t >= largest), 120.0)
