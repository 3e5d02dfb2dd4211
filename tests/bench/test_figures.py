"""Medians, ratios, verdicts, and the table made of them."""

from __future__ import annotations

from bench.figures import Bar, Figure, Rounds
from bench.report import all_met, document, number, table
from bench.servers import C_LOOP, MOORAGE, NATIVE

FIGURE = Figure(
    "a",
    "CPU",
    "us",
    {MOORAGE: [6.0, 12.0, 6.0], NATIVE: [12.0, 24.0, 10.0]},
    (Bar(0.6, NATIVE), Bar(5.0), Bar(1.35, C_LOOP)),
)


def test_value_is_the_median_and_ratio_that_of_the_rounds() -> None:
    assert FIGURE.value(MOORAGE) == 6.0
    assert FIGURE.ratio(NATIVE) == 0.5
    assert FIGURE.value(C_LOOP) is None
    assert FIGURE.ratio(C_LOOP) is None


def test_verdicts() -> None:
    assert [FIGURE.verdict(bar) for bar in FIGURE.bars] == [True, False, None]


def test_a_bar_may_ask_for_more_instead_of_less() -> None:
    rates = {MOORAGE: [30.0], NATIVE: [20.0]}
    bars = tuple(Bar(limit, NATIVE, at_least=True) for limit in (1.5, 1.6))
    figure = Figure("g", "rate", "1/s", rates, bars)
    assert [(str(bar), figure.verdict(bar)) for bar in bars] == [
        (">= 1.5x native", True),
        (">= 1.6x native", False),
    ]


def test_a_bar_without_a_figure_is_not_met() -> None:
    assert not all_met([FIGURE])
    assert not all_met([Figure("a", "", "", {}, (Bar(1),))])
    assert all_met([Figure("a", "", "", FIGURE.rounds, FIGURE.bars[:1]), Figure("b", "", "", {})])


def test_table_has_a_line_for_each_bar() -> None:
    lines = table([FIGURE, Figure("b", "not measured", "us", {})]).splitlines()
    assert len(lines) == 2 + 3
    first = ["a", "CPU", "us", "6.00", "12.0", "-", "-", "0.5x", "0.5-0.6", "<=", "0.6x", "native", "pass"]
    assert lines[2].split() == first
    assert lines[3].split() == ["<=", "5", "MISS"]
    assert lines[4].split() == ["<=", "1.35x", "c", "-"]


def test_number_keeps_three_digits() -> None:
    assert [number(value) for value in (None, 0.1234, 12.34, 123.4, 12345.6)] == [
        "-",
        "0.12",
        "12.3",
        "123",
        "12,346",
    ]


def test_document_keeps_every_round() -> None:
    written = document([FIGURE], {"cpus": 2}, ["(a) c: gone"])
    assert written["facts"] == {"cpus": 2}
    assert written["problems"] == ["(a) c: gone"]
    assert isinstance(written["figures"], list)
    assert written["figures"][0]["rounds"] == FIGURE.rounds


def test_rounds_gather_by_title_and_target() -> None:
    rounds = Rounds()
    rounds.add(MOORAGE, {"cpu": 1.0, "rate": 2.0})
    rounds.add(NATIVE, {"cpu": 3.0})
    rounds.add(MOORAGE, {"cpu": 4.0})
    assert rounds.of("cpu") == {MOORAGE: [1.0, 4.0], NATIVE: [3.0]}
    assert rounds.of("nothing") == {}
