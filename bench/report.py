"""Figures as a table and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.figures import Bar, Figure
from bench.servers import BUN, C_LOOP, MOORAGE, NATIVE

_HEAD = ("", "figure", "unit", "Moorage", "native", "Bun", "C loop", "ratio", "rounds", "bar", "")
_VERDICTS = {True: "pass", False: "MISS", None: "-"}


def number(value: float | None) -> str:
    """Three significant digits, without exponents; `-` if there is no value."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(figures: Iterable[Figure], peer: str = NATIVE) -> str:
    """One line per figure and bar, columns aligned. `peer` heads the column of what stands in native's
    place."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for figure in figures:
        if figure.rounds:
            rows += _rows(figure)
    rows = [
        (*row[:4], row[4].replace(NATIVE, peer), *row[5:9], row[9].replace(NATIVE, peer), row[10])
        for row in rows
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _rows(figure: Figure) -> list[tuple[str, ...]]:
    values = tuple(number(figure.value(target)) for target in (MOORAGE, NATIVE, BUN, C_LOOP))
    first = (figure.section, figure.title, figure.unit, *values)
    if not figure.bars:
        return [(*first, *_ratio(figure, NATIVE), "", "")]
    blank = ("", "", "", "", "", "", "")
    return [
        (*(blank if position else first), *_ratio(figure, bar.versus), str(bar), _verdict(figure, bar))
        for position, bar in enumerate(figure.bars)
    ]


def _ratio(figure: Figure, versus: str) -> tuple[str, str]:
    """The ratio, with the smallest and largest ratio of the rounds."""
    ratios = figure.ratios(versus)
    if not ratios:
        return "", ""
    spread = f"{min(ratios):.3g}-{max(ratios):.3g}" if len(ratios) > 1 else ""
    return f"{median(ratios):.3g}x", spread


def _verdict(figure: Figure, bar: Bar) -> str:
    return _VERDICTS[figure.verdict(bar)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Align words to the left, numbers to the right."""
    cells = [
        cell.rjust(width) if 3 <= column <= 8 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def document(
    figures: Iterable[Figure], facts: Mapping[str, object], problems: Sequence[str]
) -> dict[str, object]:
    """The content of the JSON file: every round, not only the medians."""
    return {
        "facts": dict(facts),
        "problems": list(problems),
        "figures": [
            {
                "section": figure.section,
                "title": figure.title,
                "unit": figure.unit,
                "median": {target: figure.value(target) for target in figure.rounds},
                "rounds": {target: list(values) for target, values in figure.rounds.items()},
                "ratio": {versus: figure.ratio(versus) for versus in (NATIVE, BUN, C_LOOP)},
                "ratios": {versus: figure.ratios(versus) for versus in (NATIVE, BUN, C_LOOP)},
                "bars": [{"bar": str(bar), "met": figure.verdict(bar)} for bar in figure.bars],
            }
            for figure in figures
        ],
    }


def all_met(figures: Iterable[Figure]) -> bool:
    """True if every bar is met. A bar without a figure is not met."""
    return all(figure.verdict(bar) is True for figure in figures for bar in figure.bars)
