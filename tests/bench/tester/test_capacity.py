"""The peer in C, and the limits of the load tester with small numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import Peers
from bench.plan import QUICK
from bench.process import Process, ready_facts
from bench.run import Run
from bench.servers import HOST, MOORAGE, environment, python
from bench.tester.capacity import capacity
from moorage.load.plan import Plan
from moorage.load.run import Run as Load


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[str]:
    argv = [*python("tester.responder"), str(tmp_path)]
    process = Process(argv, log=tmp_path / "responder.log", env=environment())
    yield f"http://{HOST}:{process.wait_line(ready_facts)['port']}"
    process.stop()


@pytest.mark.parametrize("size", [5, 300])
def test_the_peer_answers_each_event_with_its_argument(peer: str, size: int) -> None:
    plan = Plan(
        scenario="echo", url=peer, clients=3, outstanding=4, size=size, verify=True, warmup=0.0, duration=0.1
    )
    result = asyncio.run(Load(plan, 1)())
    assert result.figures["received"] > 0
    assert (result.figures["lost"], result.figures["wrong"], result.errors) == (0, 0, {})


@pytest.mark.node
def test_figures_of_one_process(tmp_path: Path) -> None:
    plan = replace(QUICK, tester_clients=20, tester_seconds=0.6)
    run = Run(Peers().node(), plan, tmp_path)
    rate, cost, held, connect = capacity(run)
    assert run.problems == []
    assert held.value(MOORAGE) == 20
    assert all(figure.value(MOORAGE) for figure in (rate, cost, connect))
