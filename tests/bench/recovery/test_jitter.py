"""Clients whose connections are cut, with small numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import Peers
from bench.plan import QUICK
from bench.recovery.jitter import jitter
from bench.run import Run
from bench.servers import MOORAGE, NATIVE

SMALL = replace(QUICK, jitter_clients=20, jitter_messages=12, jitter_cuts=3.0)


@pytest.mark.node
@pytest.mark.parametrize("target", [MOORAGE, NATIVE])
def test_nothing_is_lost_and_every_client_resumes(tmp_path: Path, target: str) -> None:
    starts = {name: start for name, start in Peers().node().items() if name == target}
    run = Run(starts, SMALL, tmp_path)
    values = {figure.title: figure.value(target) for figure in jitter(run)}
    assert run.problems == []
    assert values["messages delivered"] == 100
    assert values["messages delivered twice"] == values["messages out of order"] == 0
    assert values["reconnects"]
    assert values["reconnects that did not resume"] == 0
