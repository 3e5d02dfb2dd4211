"""Charts as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from moorage.load.report.charts import Axis, Line, chart, percentile_position, ticks


def test_a_chart_is_well_formed_and_escaped() -> None:
    lines = [Line("<a>", [(0, 1), (1, 3), (2, 2)], "one"), Line("b", [(0, 0)], "two")]
    text = chart("<title> & more", Axis("<x>", [(0, "0"), (1, "<1>"), (9, "outside")]), Axis("<y>"), lines)
    tree = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert tree.get("aria-label") == "<title> & more"
    texts = [element.text for element in tree if element.tag == "text"]
    assert {"<x>", "<y>", "<1>", "<a>", "b"} <= set(texts)
    assert "outside" not in texts
    points = [element.get("points") or "" for element in tree if element.tag == "polyline"]
    assert len(points[0].split()) == 3


def test_nothing_and_one_point() -> None:
    assert chart("t", Axis("x"), Axis("y"), [Line("a", [], "one")]) == ""
    assert "polyline" in chart("t", Axis("x"), Axis("y"), [Line("a", [(5, 0)], "one")])


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (10, ["0", "2", "4", "6", "8", "10"]),
        (0.7, ["0", "0.2", "0.4", "0.6", "0.8"]),
        (12_345, ["0", "2,500", "5,000", "7,500", "10,000", "12,500"]),
        (0, ["0", "1"]),
    ],
)
def test_round_ticks(most: float, expected: list[str]) -> None:
    assert [text for _, text in ticks(most)] == expected


def test_each_nine_takes_the_same_room() -> None:
    assert percentile_position(0.0) == 0
    assert percentile_position(0.99) == pytest.approx(2)
    assert percentile_position(1.0) == pytest.approx(6)
