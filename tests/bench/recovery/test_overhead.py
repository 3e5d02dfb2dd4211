"""The cost of recovery, with small numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import Peers
from bench.plan import QUICK
from bench.recovery.overhead import recovery_cost, recovery_memory, recovery_stored
from bench.run import Run
from bench.servers import MOORAGE, NATIVE

pytestmark = pytest.mark.node
SMALL = replace(QUICK, clients=10, ticks=2, idle=20, idle_pause=0.1)


def test_each_figure_with_recovery_stands_beside_the_one_without(tmp_path: Path) -> None:
    run = Run(Peers().node(), SMALL, tmp_path)
    with_recovery, without, *app = recovery_cost(run)
    assert run.problems == []
    assert with_recovery.ratio("without")
    assert with_recovery.rounds[MOORAGE] != without.rounds[MOORAGE]
    assert set(without.rounds) == {MOORAGE, NATIVE}
    assert all(figure.value(MOORAGE) for figure in app)


def test_memory_needs_no_native_server(tmp_path: Path) -> None:
    starts = {name: start for name, start in Peers().node().items() if name == MOORAGE}
    run = Run(starts, SMALL, tmp_path)
    figures = recovery_memory(run)
    assert run.problems == []
    assert all(figure.value(MOORAGE) is not None for figure in figures)


def test_what_is_stored_costs_something(tmp_path: Path) -> None:
    starts = {name: start for name, start in Peers().node().items() if name == MOORAGE}
    run = Run(starts, SMALL, tmp_path)
    stored, memory = recovery_stored(run)
    assert run.problems == []
    assert stored.value(MOORAGE) and memory.value(MOORAGE)
