"""Texts of tables."""

from __future__ import annotations

import pytest

from moorage.cli.tables import PARTIAL, columns, duration, note_missing, size


def test_columns() -> None:
    text = columns(("NAME", "COUNT"), [("a\x1b[31m", "7"), ("longer", "1234")], right=("COUNT",))
    assert text.splitlines() == ["NAME       COUNT", "a\\x1b[31m      7", "longer      1234"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10.6, "10s"),
        (60, "1m"),
        (250, "4m10s"),
        (11_100, "3h5m"),
        (86_400 * 2 + 3600 * 4, "2d4h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 * 1024**2, "12 MiB"), (5 * 1024**5, "5120 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_missing_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert note_missing({"missing": []}) == 0
    assert note_missing({}) == 0
    assert note_missing({"missing": ["n1", "n2\n"], "limited": True}) == PARTIAL
    said = capsys.readouterr().err
    assert "without an answer of n1, n2\\n" in said
    assert "stopped its search early" in said
