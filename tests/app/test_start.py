"""Signals and messages of a process that starts."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from moorage.app.start import StopSignals, cannot_listen
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
