"""Exceptions that must not stop the rest of the service: each is counted, and logged the first time."""

from __future__ import annotations

from collections import Counter
from typing import Final

from moorage import logs

MAX_LOGGED: Final = 100
"""Different faults that are logged. There should be none, so the set that remembers them is small."""

log: Final = logs.get("app")


class Faults:
    """`hub.ports.Faults`. A fault that comes with every tick is logged once, but counted every time."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._logged: set[tuple[str, type[Exception], object]] = set()

    def __call__(self, part: str, error: Exception) -> None:
        """Count and log an exception that `part` raised."""
        self._counts[part] += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = trace and (trace.tb_frame.f_code, trace.tb_lineno)
        kind = (part, type(error), place)
        if kind not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(kind)
            log.error("fault", part=part, exc_info=error)
