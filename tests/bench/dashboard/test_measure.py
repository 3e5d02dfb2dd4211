"""The cost of open dashboards, with small numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.dashboard.measure import LISTS, open_dashboards
from bench.dashboard.viewers import Viewer
from bench.errors import BenchError
from bench.peers import Peers
from bench.plan import QUICK
from bench.run import Run
from bench.servers import MOORAGE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.node


def test_figures_with_and_without_dashboards_and_for_each_list(tmp_path: Path) -> None:
    run = Run(Peers().node(), replace(QUICK, watched_clients=10, watched_seconds=0.1), tmp_path)
    one, hundred, p99_one, p99_hundred, *lists = open_dashboards(run)
    assert run.problems == []
    for figure in (one, hundred, p99_one, p99_hundred):
        assert figure.ratio("closed"), figure.title
    assert [figure.title for figure in lists] == [f"GET {path}" for path in LISTS]
    assert all(figure.value(MOORAGE) for figure in lists)


def test_a_viewer_does_not_go_on_without_an_answer(service: MoorageProcess) -> None:
    port = int(service.url.rpartition(":")[2])
    with pytest.raises(BenchError, match="no session: 401"):
        Viewer(port, "not a key of this service")
    key = service.wait_line(lambda line: "#key=" in line).partition("#key=")[2]
    viewer = Viewer(port, key)
    with pytest.raises(BenchError, match="nonsense: 404"):
        viewer.ask("nonsense")
    viewer.close()
