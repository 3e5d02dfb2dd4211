"""A whole run: workers, their sums, and what ends it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from moorage.load.plan import MASK, Plan
from moorage.load.run import LoadError, Progress, Run, warnings
from moorage.load.thresholds import parse
from tests.load.results import result
from tests.load.servers import Server
from tests.support.programs import free_port


def plan(url: str, **options: Any) -> Plan:
    given: dict[str, Any] = {"scenario": "echo", "clients": 6, "warmup": 0.2, "duration": 1.0, **options}
    return Plan(url=url, **given)


async def test_two_processes_make_one_result(server: Server) -> None:
    shown: list[str] = []

    def show(progress: Progress) -> None:
        shown.append(progress.phase)

    limits = [parse("lost>0", "echo"), parse("p50>0us", "echo")]
    made = await Run(plan(server.url, headers={"X-Key": "s3cret"}), 2, limits, [os.getpid()], show)()
    assert made.plan.headers == {"X-Key": MASK}
    assert (made.connected, made.processes, len(made.generator_cpu)) == (6, 2, 2)
    assert made.figures["received"] == made.figures["sent"] > 20
    assert made.figures["rate"] == pytest.approx(made.figures["received"])
    assert made.latency["count"] == made.figures["received"] == sum(n for _, n in made.distribution)
    assert made.connect["count"] == 6
    assert [verdict.failed for verdict in made.verdicts] == [False, True]
    assert made.failed
    assert made.server["cores"] > 0
    assert all(0 < share < 1 for share in made.generator_cpu)
    assert sum(second.rate for second in made.seconds) == made.figures["received"]
    assert {"connecting", "load"} <= set(shown)


async def test_broadcasts_cross_processes(server: Server) -> None:
    # On a busy machine the second process may begin late, and count only from then on.
    options = {"scenario": "fanout", "event": "publish", "rate": 20.0, "senders": 1, "warmup": 2.0}
    made = await Run(plan(server.url, **options), 2)()
    assert (made.figures["sent"], made.figures["received"], made.figures["lost"]) == (20, 120, 0)


async def test_an_interrupted_run_has_a_result(server: Server) -> None:
    run: Run

    def show(progress: Progress) -> None:
        if progress.totals.counts["received"] and not run.interrupted:
            run.stop()

    run = Run(plan(server.url, duration=100.0), 1, show=show)
    made = await asyncio.wait_for(run(), 30)
    assert made.interrupted
    assert made.figures["received"] > 0
    assert 0 < made.seconds_measured < 30


async def test_a_run_interrupted_while_it_connects(server: Server) -> None:
    run = Run(plan(server.url), 1, show=lambda _: run.stop())
    made = await asyncio.wait_for(run(), 30)
    assert made.interrupted


async def test_no_server() -> None:
    with pytest.raises(LoadError, match=r"could connect to http://127.0.0.1:.*: connection refused"):
        await Run(plan(f"http://127.0.0.1:{free_port()}"), 1)()


async def test_a_wrong_path(server: Server) -> None:
    with pytest.raises(LoadError, match=r"HTTP 404.*is /nothing/ the server's path \(--path\)\?"):
        await Run(plan(server.url, path="/nothing/", transport="polling"), 1)()


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(LoadError, match=r"Name or service not known|nodename"):
        await Run(plan("http://no-such-host.invalid:3000"), 1)()


async def test_a_process_that_cannot_be_watched(server: Server) -> None:
    with pytest.raises(LoadError, match="--server-pid: process 999999999"):
        await Run(plan(server.url), 1, pids=[999_999_999])()


async def test_nothing_comes_back(server: Server) -> None:
    options = {"timeout": 3.0, "duration": 0.3}
    echo = await Run(plan(server.url, event="unknown", **options), 1)()
    assert 'handle the event "unknown" and acknowledge it' in echo.warnings[-1]
    assert echo.figures["lost"] == 6
    fanout = plan(server.url, scenario="fanout", event="unknown", rate=10.0, **options)
    assert "send its text to all clients" in (await Run(fanout, 1)()).warnings[-1]


def test_a_busy_or_late_load_tester_is_a_warning() -> None:
    assert warnings(result()) == []
    busy = warnings(result(generator_cpu=[0.5, 0.97], lag={"p99": 25.0}))
    assert "97%" in busy[0]
    assert "25 ms" in busy[1]
