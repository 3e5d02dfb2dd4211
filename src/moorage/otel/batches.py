"""Sends finished spans in batches, from a thread of its own. A sampled event should cost little where it is
handled, so it is described and encoded here, many at a time: between other events, such code is out of the
processor's caches and takes several times as long."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from moorage.otel.settings import Batching

TOGETHER: Final = 16
"""Spans that are encoded between two offers to the event loop, which would otherwise wait up to 5 ms for its
turn."""

log: Final = logging.getLogger("moorage.otel")


class Finished(Protocol):
    """A span that has ended."""

    def encoded(self) -> bytes:
        """The span, encoded as an element of `ScopeSpans.spans`."""


class Batches:
    """Spans on their way to the collector. `send` is called with a batch of encoded spans, on the thread, and
    may wait."""

    def __init__(self, send: Callable[[Sequence[bytes]], object], batching: Batching) -> None:
        self._send = send
        self._batching = batching
        self._waiting: deque[Finished] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="moorage-otlp-spans", daemon=True)
        self._thread.start()

    def add(self, span: Finished) -> None:
        """Send it with one of the next batches. It is dropped if too many wait."""
        waiting = self._waiting
        if len(waiting) >= self._batching.queue:
            self._dropped += 1
            return
        waiting.append(span)
        if len(waiting) == self._batching.batch:
            self._wake.set()

    def close(self) -> None:
        """Send what waits, and end. Waits for it."""
        self._ended = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            self._wake.wait(self._batching.delay)
            self._wake.clear()
            # Read before the queue is emptied, so that no span is left at the end.
            ended = self._ended
            while self._waiting:
                try:
                    self._send(self._next())
                except Exception as error:
                    # A defect costs one batch, and not all later ones.
                    log.error("a batch of spans was not sent", exc_info=error)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                log.warning("%d spans dropped: raise OTEL_BSP_MAX_QUEUE_SIZE, or sample less", dropped)

    def _next(self) -> list[bytes]:
        made: list[bytes] = []
        while self._waiting and len(made) < self._batching.batch:
            made.append(self._waiting.popleft().encoded())
            if len(made) % TOGETHER == 0:
                time.sleep(0)
        return made
