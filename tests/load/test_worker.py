"""A worker's process: its phases, as the command's process sees them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from moorage.load.plan import Go, Plan
from moorage.load.tally import Report
from tests.load.servers import Server


class Spoken:
    """The worker and its lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def tell(self, message: Plan | Go) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(message) + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def reports_until(self, state: str) -> list[Report]:
        """All reports up to the one with this state."""
        assert self.process.stdout is not None
        found = []
        for line in self.process.stdout:
            found.append(msgspec.json.decode(line, type=Report))
            if found[-1].state == state:
                return found
        raise AssertionError(f"the worker ended without {state}")


@contextmanager
def worker(url: str, **options: Any) -> Iterator[Spoken]:
    """Worker number 2 with a plan."""
    argv = [sys.executable, "-m", "moorage.load.worker", "2"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        spoken = Spoken(process)
        try:
            spoken.tell(Plan(scenario="echo", url=url, clients=5, warmup=0.1, **options))
            yield spoken
        finally:
            process.kill()


def test_ready_load_done(server: Server) -> None:
    with worker(server.url, duration=0.7) as spoken:
        ready = spoken.reports_until("ready")[-1]
        assert (ready.worker, ready.connected, ready.counts["connects"]) == (2, 5, 5)
        spoken.tell(Go(time.monotonic_ns() + 10_000_000))
        reports = spoken.reports_until("done")
        # One every half second, and the last.
        assert len(reports) >= 2
        sent = sum(report.counts.get("sent", 0) for report in reports)
        received = sum(report.counts.get("received", 0) for report in reports)
        assert sent == received > 0
        spoken.end()
        assert spoken.process.wait(30) == 0


@pytest.mark.parametrize("phase", ["connecting", "waiting", "load"])
def test_the_end_of_its_input_ends_it_early(server: Server, phase: str) -> None:
    with worker(server.url, duration=100.0) as spoken:
        if phase != "connecting":
            spoken.reports_until("ready")
        if phase == "load":
            spoken.tell(Go(time.monotonic_ns()))
            spoken.reports_until("")
        spoken.end()
        done = spoken.reports_until("done")
        assert spoken.process.wait(30) == 0
        if phase == "load":
            assert sum(report.counts.get("received", 0) for report in done) > 0
