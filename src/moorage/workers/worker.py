"""The process of a worker: a node that a supervisor started. It takes its settings from the supervisor, and
ends when the supervisor is dead."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uvloop

from moorage import logs
from moorage.app.process import settle_heap, until_stopped
from moorage.app.service import TICK_SECONDS, Service
from moorage.app.start import StopSignals, cannot_listen
from moorage.wire.errors import UsageError
from moorage.workers.channel import (
    Begin,
    Channel,
    Failed,
    Gather,
    Gone,
    Page,
    Pages,
    Peers,
    Reload,
    Render,
    Started,
    State,
    States,
    Stop,
    ToWorker,
    to_worker,
)
from moorage.workers.merge import about_workers, merge
from moorage.workers.process import READY

WATCH_SECONDS: Final = 0.05
"""Seconds between two checks of a worker that is not ready."""
SCRAPE_SECONDS: Final = 3.0
"""Seconds to wait for the supervisor, which itself waits for the workers."""

log: Final = logs.get("workers")


def main(fd: int) -> None:
    """Run a worker. `fd` is its end of the channel."""
    raise SystemExit(uvloop.run(_main(fd)))


async def _main(fd: int) -> int:
    channel = await Channel.over(socket.socket(fileno=fd), to_worker)
    begin = await channel.receive()
    if not isinstance(begin, Begin):
        return 1
    logs.setup(level=begin.config.log.level, format=begin.config.log.format, node=begin.name)
    try:
        return await Worker(channel, begin).run()
    except UsageError as error:
        channel.send(Failed(str(error)))
        return 1
    finally:
        await channel.flushed()
        logs.close()


class Worker:
    """Is the node's `control.ops.Siblings`: it answers for all workers of the machine."""

    def __init__(self, channel: Channel[ToWorker], begin: Begin) -> None:
        self._channel = channel
        self._begin = begin
        self._states: dict[str, str] = {}
        self._state = ""
        self._shared = False
        """True once the shared port is open."""
        self._all_stop = False
        """True if the supervisor stops all workers. Otherwise a signal ends only this one."""
        self._numbers = itertools.count(1)
        self._scrapes: dict[int, asyncio.Future[Pages]] = {}
        self._scrape: asyncio.Task[bytes] | None = None
        self._service = Service(begin.config, siblings=self, run_dir=Path(begin.run_dir))
        settle_heap()

    def states(self) -> Mapping[str, str]:
        """As in the port."""
        return self._states

    async def scrape(self) -> bytes:
        """As in the port. Scrapes at the same time share one answer."""
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.create_task(self._gather())
        return await asyncio.shield(self._scrape)

    async def _gather(self) -> bytes:
        number = next(self._numbers)
        answer = self._scrapes[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Gather(number))
        try:
            async with asyncio.timeout(SCRAPE_SECONDS):
                found = await answer
        except TimeoutError:
            # The supervisor hangs. The others' metrics are missing then, but not this worker's.
            found = Pages(number, {self._begin.name: self._service.metrics.render()}, {})
        finally:
            self._scrapes.pop(number, None)
        names = found.restarts or self._states
        return merge(found.pages) + about_workers(
            {name: name in found.pages for name in names}, found.restarts
        )

    async def run(self) -> int:
        """Run the node until a signal, or until the supervisor's end. Returns the exit code. Raises
        `UsageError` if the node cannot start."""
        signals = StopSignals()
        self._service.when_told_to_drain = signals.ask_once
        listener = asyncio.create_task(self._listen(signals))
        watcher = asyncio.create_task(self._watch())
        try:
            await self._start(signals)
            await signals.first.wait()
            if not self._all_stop:
                self._service.port.stop_shared()
            await until_stopped(self._service, signals)
        finally:
            watcher.cancel()
            listener.cancel()
        return 0

    async def _start(self, signals: StopSignals) -> None:
        """Start the node. The shared port opens last, so that no client arrives before the node is ready."""
        service, server = self._service, self._begin.config.server
        port = server.worker_port
        try:
            await service.start()
            self._channel.send(Started(service.incarnation))
            while service.not_ready() and not signals.first.is_set():
                await asyncio.sleep(WATCH_SECONDS)
            port = server.port
            await service.port.start_shared()
        except OSError as error:
            raise UsageError(cannot_listen(server.host, port, error)) from None
        self._shared = True

    async def _watch(self) -> None:
        """Tell the supervisor when the readiness changes."""
        while True:
            await asyncio.sleep(TICK_SECONDS if self._state == READY else WATCH_SECONDS)
            state = self._service.not_ready() or (READY if self._shared else "starting")
            if state != self._state:
                self._state = state
                self._channel.send(State(state))

    async def _listen(self, signals: StopSignals) -> None:
        """Carry out what the supervisor says."""
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Reload):
                self._service.reload(message.config)
            elif isinstance(message, Stop):
                if self._all_stop or not signals.first.is_set():
                    signals.ask()
                self._all_stop = True
            elif isinstance(message, States):
                self._states = message.states
            elif isinstance(message, Peers | Gone):
                self._about_peers(message)
            elif isinstance(message, Render):
                self._channel.send(Page(message.number, self._service.metrics.render()))
            elif isinstance(message, Pages) and (asked := self._scrapes.pop(message.number, None)):
                asked.set_result(message)
        log.error("the supervisor is dead, so the worker ends")
        shutil.rmtree(self._begin.run_dir, ignore_errors=True)
        signals.first.set()
        signals.second.set()

    def _about_peers(self, message: Peers | Gone) -> None:
        membership = self._service.router.membership
        if membership is None:
            return  # it has not joined yet, and knows nobody
        if isinstance(message, Gone):
            membership.goodbye(message.incarnation)
        else:
            membership.expect({each for each in message.incarnations if each != self._service.incarnation})
