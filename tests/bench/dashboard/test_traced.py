"""The cost of a trace, with small numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.dashboard.traced import Watcher, traced
from bench.errors import BenchError
from bench.peers import Peers
from bench.plan import QUICK
from bench.run import Run
from bench.servers import MOORAGE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.node


def test_figures_with_and_without_a_trace(tmp_path: Path) -> None:
    plan = replace(QUICK, watched_clients=10, pairs=2, pair_seconds=0.1)
    run = Run(Peers().node(), plan, tmp_path)
    one, again, closed = traced(run)
    assert run.problems == []
    assert len(one.rounds[MOORAGE]) == len(again.rounds[MOORAGE]) == 2
    assert closed.value(MOORAGE)


def test_a_watcher_does_not_go_on_without_a_trace(service: MoorageProcess) -> None:
    port = int(service.url.rpartition(":")[2])
    with pytest.raises(BenchError, match="no trace: 401"):
        Watcher(port, "not a key of this service", "abc")
