"""Stock clients in a process of their own, which lose their connections when they are told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.process import Process, ready_facts
from bench.servers import Address, environment, node

_PROGRAM: Final = "recovery/clients.mjs"
_BETWEEN: Final = 0.5
"""Seconds between two reports."""


class Crowd:
    """The clients' process."""

    def __init__(self, process: Process, count: int) -> None:
        self.count = count
        self.process = process
        self._reports = 0

    def cut(self, every: float, *, silent: bool = False) -> None:
        """Cut each client's connection about every so many seconds; 0 ends it. The server does not notice a
        `silent` cut."""
        self.process.send({"cuts": round(every * 1000), "silent": int(silent)})

    def report(self) -> dict[str, Any]:
        """What all clients have seen so far."""
        self._reports += 1
        self.process.send({"report": self._reports})
        return self.process.wait_line(partial(reported, number=self._reports))

    def settled(self, each: int, seconds: float) -> dict[str, Any]:
        """The same, once all are connected and have `each` messages, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.report()
            whole = seen["connected"] == self.count and seen["delivered"] >= each * self.count
            if whole or time.monotonic() > deadline:
                return seen
            time.sleep(_BETWEEN)


@contextmanager
def crowd(logs: Path, address: Address, count: int) -> Iterator[Crowd]:
    """So many clients, connected."""
    argv = [*node(_PROGRAM), str(address.port), address.path, str(count)]
    process = Process(argv, log=logs / "clients.log", env=environment())
    try:
        process.wait_line(ready_facts, seconds=120)
        yield Crowd(process, count)
    finally:
        process.stop()


def reported(line: str, number: int) -> dict[str, Any] | None:
    """The clients' report `number`, if this line is it."""
    if not line.startswith('{"report":'):
        return None
    facts: dict[str, Any] = json.loads(line)
    return facts if facts["report"] == number else None
