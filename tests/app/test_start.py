"""Signals and messages of a process that starts."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from moorage.app.start import Reloading, StopSignals, cannot_listen
from moorage.config.model import Config
from tests.support.service import ROOT


async def test_the_first_signal_and_a_second_one() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        signals = StopSignals()
        os.kill(os.getpid(), signal.SIGTERM)
        await signals.first.wait()
        assert not signals.second.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await signals.second.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("host", "number", "text"),
    [
        ("127.0.0.1", errno.EADDRINUSE, "cannot listen on 127.0.0.1:80: another program uses that port"),
        ("::1", errno.EACCES, "cannot listen on [::1]:80: that port needs more rights"),
        ("10.0.0.1", errno.EADDRNOTAVAIL, "cannot listen on 10.0.0.1:80: Cannot assign requested address"),
    ],
)
def test_a_port_that_cannot_be_had(host: str, number: int, text: str) -> None:
    assert cannot_listen(host, 80, OSError(number, os.strerror(number))).startswith(text)


def test_a_supervisor_loads_no_part_of_a_node() -> None:
    code = "import sys, moorage.workers.supervisor; print('moorage.app.service' in sys.modules)"
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT / "src", text=True)
    assert shown == "False\n"


async def test_the_loop_runs_on_and_no_signal_is_lost() -> None:
    may_go_on, reads = threading.Event(), 0
    begun: asyncio.Queue[int] = asyncio.Queue()
    applied: asyncio.Queue[Config] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> Callable[[], Config]:
        nonlocal reads
        reads += 1
        loop.call_soon_threadsafe(begun.put_nowait, reads)
        assert may_go_on.wait(30)
        return Config

    reloading = Reloading(read, applied.put_nowait)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert await begun.get() == 1
        # The first reading is under way: three more signals ask for one more.
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
        assert applied.empty()
        may_go_on.set()
        await applied.get()
        await applied.get()
        assert reads == 2
    finally:
        reloading.stop()
