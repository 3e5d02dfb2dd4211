"""Tables for people: columns, and texts for numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

PARTIAL: Final = 3
"""The exit code if some nodes did not answer."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_TIMES: Final = ((86_400, "d"), (3600, "h"), (60, "m"))
_FAST: Final = 10.0


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Rows under a head. The columns named in `right` are aligned to the right. Texts of strangers are made
    printable."""
    cells = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_right = [name in right for name in head]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, to_right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def plain(text: str) -> str:
    """Text of strangers, with escapes in place of characters on which a terminal would act."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def duration(seconds: float) -> str:
    """Seconds as `12s`, `4m10s`, `3h5m` or `2d4h`."""
    left = int(seconds)
    if left < 60:
        return f"{seconds:.1f}s" if seconds < _FAST else f"{left}s"
    for number, (unit, name) in enumerate(_TIMES):
        if left >= unit:
            below, small = (*_TIMES, (1, "s"))[number + 1]
            rest = left % unit // below
            return f"{left // unit}{name}{f'{rest}{small}' if rest else ''}"
    raise AssertionError("unreachable")


def size(count: float) -> str:
    """Bytes as `0 B`, `1.5 KiB` or `12 MiB`."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"


def number(value: int | None) -> str:
    """A number as text, `-` if it is unknown."""
    return "-" if value is None else str(value)


def note_missing(answer: Mapping[str, Any]) -> int:
    """Tell which nodes are not in an answer. Returns the exit code."""
    missing = answer.get("missing") or []
    if missing:
        names = ", ".join(map(plain, missing))
        click.echo(f"moorage: without an answer of {names}", err=True)
    if answer.get("limited"):
        click.echo("moorage: a node stopped its search early; name more conditions", err=True)
    return PARTIAL if missing else 0
