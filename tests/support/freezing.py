"""Processes that stand still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

SECONDS = 60.0


def freeze(pid: int) -> None:
    """Send SIGSTOP, and return when all threads of the process stand still. One thread takes the signal, and
    until it has its turn, which takes a while on a busy machine, the others go on."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + SECONDS
    while not all(_stands_still(task) for task in Path(f"/proc/{pid}/task").glob("*")):
        assert time.monotonic() < end, f"process {pid} does not stop"
        time.sleep(0.002)  # between two looks, not instead of them


def _stands_still(task: Path) -> bool:
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True  # it has ended
    return state in "TtXZ"
