"""Sends traces and metrics. Whatever the collector does, traffic goes on: exports run in threads of their
own, with bounded queues, and a node that stops waits for the last one for a moment only."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from moorage import __version__
from moorage.metrics.metrics import Metrics
from moorage.otel.batches import Batches
from moorage.otel.numbers import metrics_data
from moorage.otel.settings import Telemetry
from moorage.otel.spans import Exporter, OtelSpans

LAST_SECONDS: Final = 2.0
"""Seconds for which a node that stops waits for its last export."""


class Sender:
    """The traces and metrics of one node."""

    def __init__(self, telemetry: Telemetry, metrics: Metrics, *, node: str, incarnation: str) -> None:
        """`node` and `incarnation` name the node in what it sends."""
        self._telemetry = telemetry
        self._metrics = metrics
        self._since = time.time_ns()
        own = {
            "service.name": "moorage",
            "service.version": __version__,
            "service.instance.id": incarnation,
            "host.name": node,
        }
        # What the variables name takes precedence.
        named = Resource(own).merge(OTELResourceDetector().detect())
        self._resource = Resource.create(dict(named.attributes))
        self._exporter: OTLPMetricExporter | None = None
        self._task: asyncio.Task[None] | None = None
        self._span_exporter: Exporter | None = None
        self._batches: Batches | None = None
        self.spans: OtelSpans | None = None
        """Makes the spans of sampled events; None if nothing is sampled."""
        if telemetry.ratio:
            self._span_exporter = Exporter(self._resource)
            self._batches = Batches(self._span_exporter.send, telemetry.batching)
            self.spans = OtelSpans(self._batches, telemetry.ratio)

    def start(self) -> None:
        """Begin to send metrics."""
        if self._telemetry.metrics:
            self._exporter = OTLPMetricExporter()
            self._task = asyncio.create_task(self._send_forever())

    async def _send_forever(self) -> None:
        while True:
            await asyncio.sleep(self._telemetry.interval)
            await self._send()

    async def _send(self) -> None:
        assert self._exporter is not None
        data = metrics_data(self._metrics, self._resource, self._since, time.time_ns())
        # An export that fails is logged by the exporter. The next one has the sums of both.
        await _in_thread(partial(self._exporter.export, data))

    async def stop(self) -> None:
        """Send what is left, if the collector takes it at once."""
        last = [self._send()] if self._task is not None else []
        if self._task is not None:
            self._task.cancel()
        if self._batches is not None:
            last.append(_in_thread(self._batches.close))
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await asyncio.gather(*last)
        except TimeoutError:
            pass
        finally:
            # They would try again for ten seconds, each in its thread.
            for exporter in (self._exporter, self._span_exporter):
                if exporter is not None:
                    exporter.shutdown()


async def _in_thread(call: Callable[[], object]) -> None:
    """Run `call` in a thread. Unlike one of `asyncio.to_thread`, it does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            call()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="moorage-otlp", daemon=True).start()
    await done.wait()
