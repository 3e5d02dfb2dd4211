"""Collects the metrics of all workers for the worker that was asked for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

from moorage.workers.channel import Page, Pages, Render
from moorage.workers.process import WorkerProcess

SECONDS: Final = 1.0
"""Seconds to wait for the workers' metrics. Scrapers give up after 10 s by default."""


class Gathering:
    """The requests that are being answered."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers
        self._numbers = itertools.count(1)
        self._open: dict[int, _Request] = {}

    def begin(self, asker: WorkerProcess, number: int) -> None:
        """A worker asks for the metrics of all."""
        own = next(self._numbers)
        asked = {worker.name for worker in self._workers if worker.answers}
        request = self._open[own] = _Request(asker, number, asked)
        request.timer = asyncio.get_running_loop().call_later(SECONDS, self._end, own)
        for worker in self._workers:
            if worker.name in asked:
                worker.send(Render(own))

    def add(self, worker: WorkerProcess, answer: Page) -> None:
        """A worker's metrics. A late answer is dropped."""
        request = self._open.get(answer.number)
        if request is None:
            return
        request.pages[worker.name] = answer.page
        if request.asked <= request.pages.keys():
            self._end(answer.number)

    def _end(self, own: int) -> None:
        request = self._open.pop(own)
        if request.timer is not None:
            request.timer.cancel()
        restarts = {worker.name: worker.restarts for worker in self._workers}
        # In the workers' order, not in the order of the answers.
        pages = {name: request.pages[name] for name in restarts if name in request.pages}
        request.asker.send(Pages(request.number, pages, restarts))


class _Request:
    def __init__(self, asker: WorkerProcess, number: int, asked: set[str]) -> None:
        self.asker = asker
        self.number = number
        self.asked = asked
        self.pages: dict[str, bytes] = {}
        self.timer: asyncio.TimerHandle | None = None
