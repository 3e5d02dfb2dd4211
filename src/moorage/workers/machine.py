"""What this machine gives the service: CPUs, file descriptors and memory. In a container, what the container
may use."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from moorage.config.model import Config
from moorage.config.rules import show_size
from moorage.edge.settings import EdgeLimits

MAX_FILES: Final = 1024 * 1024
"""The limit of open files is not raised above this, also where the system would allow a billion."""
OTHER_FILES: Final = 256
"""Files that a process opens besides one for each client."""
FEW_CLIENTS: Final = 10_000
"""A process that can serve fewer clients gets a warning, if `limits.max_connections` has its default."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


def workers(wanted: int) -> int:
    """The number of workers that the setting `workers` asks for; 0 stands for `auto`."""
    return wanted or cpus()


def cpus(cgroups: Path = _CGROUPS) -> int:
    """CPUs that this process may use, at least 1."""
    quotas = [
        math.ceil(int(quota) / int(period))
        for quota, _, period in (text.partition(" ") for text in _limits("cpu.max", cgroups))
        if quota.isdigit()
    ]
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        usable = os.cpu_count() or 1
    return max(1, min([usable, *quotas]))


def memory(cgroups: Path = _CGROUPS) -> int:
    """Bytes of memory that the service may use."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *(int(text) for text in _limits("memory.max", cgroups) if text.isdigit())])


def raise_file_limit() -> int:
    """Allow this process, and those that it starts, as many open files as the system lets it. Returns the
    number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return MAX_FILES if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    return most


def warnings(config: Config, count: int, *, files: int, memory: int) -> Iterator[str]:
    """What `count` processes lack, if each may open `files` files and all together have `memory` bytes."""
    limits = config.limits
    clients = max(0, files - OTHER_FILES)
    named = limits.max_connections != EdgeLimits().max_connections
    if clients < (limits.max_connections if named else FEW_CLIENTS):
        allowed = f", and limits.max_connections allows {limits.max_connections}" if named else ""
        yield (
            f"a process may open only {files} files, enough for about {clients} clients{allowed} "
            "(raise it with `ulimit -n`, LimitNOFILE= of systemd, or the container's ulimits)"
        )
    queues = limits.outbox_total_bytes * count
    if queues > memory:
        each = f"{count} workers with {show_size(limits.outbox_total_bytes)} each" if count > 1 else "queues"
        yield (
            f"limits.outbox_total_bytes: {each} may take {_gib(queues)} for data that slow clients have not "
            f"read, and there are only {_gib(memory)} of memory"
        )


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def _limits(name: str, cgroups: Path) -> Iterator[str]:
    """The values of a limit in the process's control group (version 2) and in those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    own = next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    folder = cgroups / own
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            yield (place / name).read_text().strip()
        if place == cgroups:
            return
