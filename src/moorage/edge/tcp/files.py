"""Tells operators that the process cannot open a file for another connection.

The event loop's own server closes such connections at once and reports nothing, so the lack has to be looked
for. A port with a gate gets the error itself."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable
from typing import Final

from moorage import logs
from moorage.logs_quota import Quota
from moorage.metrics.metrics import Metrics

LACKS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
LINES_PER_SECOND: Final = 1 / 60
"""Maximum rate of log lines. A flood may take each descriptor that gets free."""
ALWAYS_THERE: Final = "/"

log: Final = logs.get("port")


class Files:
    """Counts and logs each time that a descriptor was missing."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._quota = Quota(LINES_PER_SECOND, 1)

    def check(self) -> None:
        """Open a file and close it again, which takes a few microseconds. Call a few times a second."""
        try:
            os.close(os.open(ALWAYS_THERE, os.O_RDONLY))
        except OSError as error:
            if error.errno in LACKS:
                self.lack(error)

    def lack(self, error: OSError) -> None:
        """A descriptor could not be had, with one of the errors in `LACKS`."""
        self._metrics.file_shortages += 1
        if self._quota.allows(self._clock()):
            log.warning("connections not accepted", error=error.strerror, **_named(error.errno))


def _named(number: int | None) -> dict[str, object]:
    """The limit that was reached, and how to raise it."""
    if number == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        fix = "raise it with `ulimit -n`, LimitNOFILE= of systemd, or the container's ulimits"
        return {"limit": "files of this process", "files": most, "fix": fix}
    if number == errno.ENFILE:
        return {"limit": "files of this machine", "fix": "raise fs.file-max with `sysctl`"}
    return {
        "limit": "memory of the kernel",
        "fix": "give the machine more memory, or this node fewer clients",
    }
