"""CPU and memory of server processes on this machine, while the load runs. Linux only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

PROC: Final = Path("/proc")


class Usage(msgspec.Struct, frozen=True):
    """The usage of all watched processes together."""

    cpu: float
    """Seconds on a CPU so far."""
    memory: int
    """Resident bytes."""


class NotWatchable(Exception):
    """There is no such process, or this system has no /proc."""


def usage(pids: Sequence[int]) -> Usage:
    """Read the processes. Raises `NotWatchable`."""
    cpu, memory = 0.0, 0
    for pid in pids:
        try:
            # The command's name is in parentheses and may contain anything, parentheses included.
            fields = (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            raise NotWatchable(f"process {pid} cannot be read") from None
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu, memory)
