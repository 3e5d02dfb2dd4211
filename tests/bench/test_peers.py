"""An older checkout in native's place: its bars, and the table's headings."""

from __future__ import annotations

from pathlib import Path

from bench.figures import Bar, Figure
from bench.peers import SLOWER, Peers, judged_by_before
from bench.report import table
from bench.servers import BUN, C_LOOP, MOORAGE, NATIVE

ROUNDS = {MOORAGE: [1.02, 1.02], NATIVE: [1.0, 1.0]}


def test_a_figure_with_a_bar_against_native_must_be_no_worse_than_before() -> None:
    cost = Figure("a", "CPU", "us", ROUNDS, (Bar(0.6, NATIVE), Bar(1.35, C_LOOP)))
    rate = Figure("g", "rate", "1/s", ROUNDS, (Bar(1.2, NATIVE, at_least=True),))
    free = Figure("k", "other", "us", ROUNDS)
    judged = judged_by_before([cost, rate, free])
    assert [figure.bars for figure in judged] == [
        (Bar(SLOWER, NATIVE),),
        (Bar(1 / SLOWER, NATIVE, at_least=True),),
        (),
    ]
    assert [figure.verdict(bar) for figure in judged for bar in figure.bars] == [True, True]


def test_the_table_names_the_older_checkout() -> None:
    shown = table(judged_by_before([Figure("a", "CPU", "us", ROUNDS, (Bar(0.6, NATIVE),))]), "before")
    assert "native" not in shown
    assert "<= 1.03x before" in shown


def test_an_older_checkout_stands_for_native_in_every_section() -> None:
    peers = Peers(Path("/older"))
    assert set(peers.azure()) == set(peers.node()) == {MOORAGE, NATIVE}
    assert BUN in Peers().azure()
    assert set(peers.python("json")) == {f"{MOORAGE} json", f"{NATIVE} json"}
