"""CPU and memory of other processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from moorage.load.watch import NotWatchable, usage


def test_processes_of_this_machine() -> None:
    before = usage([os.getpid()])
    sum(number * number for number in range(3_000_000))
    after = usage([os.getpid()])
    assert after.cpu > before.cpu
    assert 1e6 < after.memory < 1e10
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert usage([os.getpid(), other.pid]).cpu >= after.cpu
    with pytest.raises(NotWatchable, match=str(other.pid)):
        usage([other.pid])
