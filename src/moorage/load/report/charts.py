"""Charts as SVG text, without scripts and without anything from elsewhere. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 860
HEIGHT: Final = 260
LEFT: Final = 70
BOTTOM: Final = 40
TOP: Final = 30
RIGHT: Final = 20
TICKS: Final = 5
_STEPS: Final = (1, 2, 2.5, 5, 10)


class Line(NamedTuple):
    """One line of a chart, with a name for the legend. `style` is a class of the page's style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


class Axis(NamedTuple):
    """What an axis shows, and its ticks: positions with their texts. `ticks` may be empty."""

    title: str
    ticks: Sequence[tuple[float, str]] = ()


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """A line chart. Its y axis begins at 0."""
    xs = [at for line in lines for at, _ in line.points]
    ys = [value for line in lines for _, value in line.points]
    if not xs:
        return ""
    low, high = min(xs), max(*xs, min(xs) + 1e-9)
    y_ticks = list(y.ticks) or ticks(max(ys))
    top = max(*ys, y_ticks[-1][0])

    def across(at: float) -> float:
        return LEFT + (at - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    out = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>',
    ]
    for value, text in y_ticks:
        out.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
        )
        out.append(f'<text class="y" x="{LEFT - 8}" y="{up(value) + 4:.1f}">{escape(text)}</text>')
    for at, text in x.ticks or ticks(high):
        if low <= at <= high:
            out.append(
                f'<text class="x" x="{across(at):.1f}" y="{HEIGHT - BOTTOM + 18}">{escape(text)}</text>'
            )
    out.append(
        f'<text class="x" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}">{escape(x.title)}</text>'
    )
    out.append(f'<text class="unit" x="{LEFT - 8}" y="16">{escape(y.title)}</text>')
    for number, line in enumerate(lines):
        path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in line.points)
        name, style, legend = escape(line.name), escape(line.style), WIDTH - RIGHT - 90 * number
        out.append(f'<polyline class="{style}" points="{path}"><title>{name}</title></polyline>')
        out.append(f'<text class="legend {style}" x="{legend}" y="16">{name}</text>')
    return "\n".join([*out, "</svg>"])


def ticks(most: float) -> list[tuple[float, str]]:
    """About five round values from 0 to `most` or a little beyond."""
    if most <= 0:
        return [(0, "0"), (1, "1")]
    rough = most / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in _STEPS if step * power >= rough * 0.999)
    return [(number * step, f"{number * step:,.10g}") for number in range(math.ceil(most / step - 1e-9) + 1)]


def percentile_position(share: float) -> float:
    """Where a quantile stands on an axis on which each further nine takes the same room; at most 6 nines."""
    return -math.log10(max(1e-6, 1 - share))
