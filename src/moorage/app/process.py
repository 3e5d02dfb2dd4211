"""One node as a process: it runs until a signal ends it. `workers` runs several."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from moorage import logs
from moorage.app.service import Service
from moorage.app.start import RUN_DIR, Read, Reloading, StopSignals, cannot_listen
from moorage.config.model import Config
from moorage.wire.errors import UsageError

GC_THRESHOLDS: Final = (10_000, 3, 600)
"""A collection of the two young generations examines at most 40,000 objects, which takes some 15 ms. With
400,000, the objects of 8,000 new clients, it held the event loop for 0.13 s. Each object is examined twice in
both cases, so this costs no more. A full collection is due after 20 million new objects."""
WATCH_SECONDS: Final = 0.05
"""Seconds between two checks of a node that is not ready."""

log: Final = logs.get("app")


def settle_heap() -> None:
    """Call after the parts are built. Nearly all objects live long, and a full collection walks all of them:
    a profile of 2,000 connects under the default thresholds showed a tenth of its samples there."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def until_stopped(service: Service, signals: StopSignals) -> None:
    """Wait for a signal and drain the service; a second signal ends it at once."""
    await signals.first.wait()
    log.info("draining", connections=service.node.connections)
    drain = asyncio.create_task(service.stop())
    cut = asyncio.create_task(signals.second.wait())
    await asyncio.wait((drain, cut), return_when=asyncio.FIRST_COMPLETED)
    if not drain.done():
        drain.cancel()
        await service.stop(drain=False)
    cut.cancel()


async def _when_ready(service: Service, call: Callable[[], None]) -> None:
    while service.not_ready():
        await asyncio.sleep(WATCH_SECONDS)
    call()


async def run(config: Config, *, reload: Read | None, on_ready: Callable[[str], None]) -> int:
    """Run a service until SIGTERM or SIGINT; a second signal ends it at once. `on_ready` is called once, when
    `/readyz` answers 200 for the first time. Returns the exit code. Raises `UsageError` if the address cannot
    be bound."""
    for warning in config.warnings:
        log.warning(warning)
    folder = os.environ.get(RUN_DIR)
    service = Service(config, run_dir=Path(folder) if folder else None)
    settle_heap()
    signals = StopSignals()
    service.when_told_to_drain = signals.ask_once
    reloading = None if reload is None else Reloading(reload, service.reload)
    try:
        url = await service.start()
    except OSError as error:
        raise UsageError(cannot_listen(config.server.host, config.server.port, error)) from None
    if reason := service.not_ready():
        # A node of a cluster listens to the others first.
        log.info("listening", url=url, not_ready=reason)
    else:
        on_ready(url)
    watcher = asyncio.create_task(_when_ready(service, partial(on_ready, url))) if reason else None
    await until_stopped(service, signals)
    if watcher is not None:
        watcher.cancel()
    if reloading is not None:
        reloading.stop()
    return 0


def serve(config: Config, *, reload: Read | None = None, on_ready: Callable[[str], None]) -> int:
    """Run a service in this thread; see `run`."""
    return uvloop.run(run(config, reload=reload, on_ready=on_ready))
