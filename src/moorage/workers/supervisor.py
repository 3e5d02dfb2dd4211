"""The supervisor: starts the workers, keeps them running, and stops them together.

It serves no client. Bad settings, a port in use or a missing NATS server are found here, once. A worker that
cannot start at the beginning ends everything; later a worker that ends is started again."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import msgspec
import uvloop

from moorage import logs
from moorage.app.start import Read, Reloading, StopSignals
from moorage.cluster.nats import server as nats_server
from moorage.cluster.nats.server import NatsServer, exit_text
from moorage.config import load
from moorage.config.model import Config
from moorage.wire.errors import UsageError
from moorage.workers.channel import (
    Begin,
    Failed,
    FromWorker,
    Gather,
    Gone,
    Page,
    Peers,
    Reload,
    Started,
    State,
    States,
    Stop,
)
from moorage.workers.gathering import Gathering
from moorage.workers.ports import Ports, advertised
from moorage.workers.process import READY, WorkerProcess
from moorage.workers.run_dir import RunDir

KILL_SECONDS: Final = 5.0
"""Seconds after `shutdown.timeout` until a worker that has not ended is killed."""

log: Final = logs.get("workers")


def serve(
    config: Config,
    count: int,
    *,
    reload: Read | None = None,
    on_ready: Callable[[str], None],
) -> int:
    """Run `count` workers until SIGTERM or SIGINT, like `app.process.serve`."""
    return uvloop.run(run(config, count, reload=reload, on_ready=on_ready))


async def run(config: Config, count: int, *, reload: Read | None, on_ready: Callable[[str], None]) -> int:
    """Run `count` workers until SIGTERM or SIGINT; a second signal ends them at once. Returns the exit code.
    Raises `UsageError` if they cannot start."""
    program = "" if config.cluster.nats_url else nats_server.find()
    for warning in config.warnings:
        log.warning(warning)
    async with AsyncExitStack() as stack:
        server = config.server
        ports = Ports(server.host, server.port, server.worker_port, count)
        stack.callback(ports.close)
        run_dir = RunDir()
        stack.callback(run_dir.remove)
        signals = StopSignals()
        if program:
            # Workers that die are replaced; what they stored is of no use after the end of all.
            store = None if config.recovery.store == "memory" else run_dir.path / "jetstream"
            nats = NatsServer(program, run_dir.path, store)
            stack.push_async_callback(nats.stop)
            await nats.start()
            cluster = msgspec.structs.replace(config.cluster, nats_url=(nats.url,))
            config = msgspec.structs.replace(config, cluster=cluster)
        supervisor = Supervisor(config, ports, run_dir, alone=bool(program))
        if reload is not None:
            stack.callback(Reloading(reload, supervisor.reload).stop)
        return await supervisor.run(signals, on_ready)


class Supervisor:
    """The workers of one machine. They are `alone` if no other node can be in their cluster."""

    def __init__(self, config: Config, ports: Ports, run_dir: RunDir, *, alone: bool) -> None:
        self._alone = alone
        self._config = config
        self._ports = ports
        self._run_dir = run_dir
        base = config.cluster.node_name or socket.gethostname()[:50]
        self._workers = [
            WorkerProcess(f"{base}-{number}", port) for number, port in enumerate(ports.own, start=1)
        ]
        self._gathering = Gathering(self._workers)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Set when all workers are ready for the first time, or one of them cannot start."""
        self._stopping = False

    async def run(self, signals: StopSignals, on_ready: Callable[[str], None]) -> int:
        """Run the workers until a signal. Returns the exit code."""
        failed = True
        keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        stopped = asyncio.create_task(signals.first.wait())
        try:
            await asyncio.wait((self._ready, stopped), return_when=asyncio.FIRST_COMPLETED)
            if self._ready.done():
                self._ready.result()
                on_ready(self._url())
            await stopped
            log.info("stopping", workers=len(self._workers))
            failed = False
        finally:
            stopped.cancel()
            clean = await self._stop(keepers, signals, at_once=failed)
        return 0 if clean else 1

    def reload(self, config: Config) -> None:
        """Apply new keys and hubs in all workers, also in those that start later."""
        self._config = load.reloaded(self._config, config)
        self._tell(Reload(self._config))

    # -- one worker -------------------------------------------------------------------------------

    async def _keep(self, worker: WorkerProcess) -> None:
        """Run a worker, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            begin = Begin(self._config_of(worker), worker.name, str(self._run_dir.path))
            incarnation = ""

            def receive(message: FromWorker) -> None:
                nonlocal incarnation
                if isinstance(message, Started):
                    incarnation = message.incarnation
                self._receive(worker, message)

            try:
                code = await worker.run(begin, receive)
            except OSError as error:
                log.error("worker cannot be started", node=worker.name, why=str(error))
                code = 1
            if self._stopping:
                return
            if not self._ready.done():
                text = f"{worker.name} ended while it started: {exit_text(code)}"
                self._ready.set_exception(UsageError(text))
                return
            if incarnation:
                self._run_dir.forget(incarnation)
                self._tell(Gone(incarnation))
            self._tell_states()
            worker.restarts += 1
            ran = loop.time() - began
            pause = worker.pause(ran)
            say = log.error if code else log.info
            say(
                "worker ended",
                node=worker.name,
                how=exit_text(code),
                after_s=round(ran, 1),
                restart_in_s=round(pause, 1),
            )
            await asyncio.sleep(pause)

    def _config_of(self, worker: WorkerProcess) -> Config:
        config = self._config
        return msgspec.structs.replace(
            config,
            server=msgspec.structs.replace(config.server, port=self._ports.shared, worker_port=worker.port),
            cluster=msgspec.structs.replace(
                config.cluster,
                node_name=worker.name,
                advertise=self._advertised(worker),
            ),
            warnings=(),
        )

    def _advertised(self, worker: WorkerProcess) -> str:
        config = self._config
        tls = bool(config.server.tls.cert_file)
        return advertised(config.server.host, worker.port, config.cluster.advertise, tls=tls)

    def _receive(self, worker: WorkerProcess, message: FromWorker) -> None:
        if isinstance(message, Gather):
            self._gathering.begin(worker, message.number)
        elif isinstance(message, Page):
            self._gathering.add(worker, message)
        elif isinstance(message, Started):
            worker.incarnation = message.incarnation
            log.info(
                "worker started",
                node=worker.name,
                pid=worker.pid,
                url=self._advertised(worker),
                incarnation=message.incarnation,
            )
            if self._alone and all(each.incarnation for each in self._workers):
                self._tell(Peers([each.incarnation for each in self._workers]))
        elif isinstance(message, State):
            self._tell_states()
            if not self._ready.done() and all(each.state == READY for each in self._workers):
                self._ready.set_result(None)
        elif isinstance(message, Failed):
            if self._ready.done():
                log.error("worker cannot start", node=worker.name, why=message.text)
            else:
                self._ready.set_exception(UsageError(message.text))

    # -- all workers ------------------------------------------------------------------------------

    def _tell(self, message: Reload | Gone | Peers | States) -> None:
        for worker in self._workers:
            worker.send(message)

    def _tell_states(self) -> None:
        self._tell(States({worker.name: worker.state for worker in self._workers}))

    def _url(self) -> str:
        host = self._config.server.host
        scheme = "https" if self._config.server.tls.cert_file else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._ports.shared}"

    async def _stop(self, keepers: list[asyncio.Task[None]], signals: StopSignals, *, at_once: bool) -> bool:
        """Drain all workers at the same time, or kill them `at_once`. A second signal ends the drain. Returns
        True if all workers ended by themselves."""
        self._stopping = True
        for worker in self._workers:
            if at_once:
                worker.signal(signal.SIGKILL)
            worker.send(Stop())
        for worker, keeper in zip(self._workers, keepers, strict=True):
            if not worker.running:
                keeper.cancel()
        cut = asyncio.create_task(signals.second.wait())
        ended = asyncio.gather(*keepers, return_exceptions=True)
        limit = self._config.shutdown.timeout + KILL_SECONDS
        await asyncio.wait((ended, cut), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if cut.done() and not ended.done():
            for worker in self._workers:
                worker.send(Stop())
            await asyncio.wait((ended,), timeout=KILL_SECONDS)
        cut.cancel()
        if ended.done():
            return True
        for worker in self._workers:
            if worker.running:
                log.error("worker killed", node=worker.name, pid=worker.pid)
            worker.signal(signal.SIGKILL)
        await ended
        return False
