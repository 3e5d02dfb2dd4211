"""Regions: NATS servers that are joined by gateways, each with a way to it that takes its time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.support.nats_server import NatsServer
from tests.support.programs import free_port

CONFIG: Final = """
ping_interval: "2s"
ping_max: 2
gateway {{
  name: "{name}"
  listen: "127.0.0.1:{port}"
  advertise: "127.0.0.1:{way}"
  connect_retries: 1000
  gateways: [{others}]
}}
"""


class Way:
    """A TCP proxy to a port. Everything takes `delay` seconds through it, and keeps its order."""

    def __init__(self, target: int, delay: float) -> None:
        self._target = target
        self.delay = delay
        self.jitter = 0.0
        """The delay of each piece of data is longer by something up to this."""
        self.open = True
        """False: connections are refused, and those that were there are broken."""
        self.silent = False
        """True: data is lost. A connection that has lost some carries nothing any more, and stays open."""
        self.port = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break everything."""
        self.open = False
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Listen no more."""
        self._server.close()
        await self.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            if self.open:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                ends.append(far_writer)
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, far_writer))
                    pumps.create_task(self._pump(far_reader, writer))
        except (OSError, ExceptionGroup):
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, last, dead = asyncio.get_running_loop(), 0.0, False
        while data := await source.read(65536):
            dead = dead or self.silent
            if dead:
                continue
            # Timers with the same time keep their order only if the times grow.
            last = max(last + 1e-6, loop.time() + self.delay + random.uniform(0.0, self.jitter))
            loop.call_at(last, sink.write, data)
        raise ConnectionError


class Gateways:
    """One NATS server for each region."""

    def __init__(self, names: Sequence[str], delay: float, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        ports = {name: free_port() for name in names}
        self.ways = {name: Way(port, delay) for name, port in ports.items()}
        """The way into each region."""
        for way in self.ways.values():
            self._run(way.start())
        self.servers: dict[str, NatsServer] = {}
        for name in names:
            others = ", ".join(
                f'{{name: "{other}", url: "nats://127.0.0.1:{self.ways[other].port}"}}'
                for other in names
                if other != name
            )
            file = folder / f"{name}.conf"
            text = CONFIG.format(name=name, port=ports[name], way=self.ways[name].port, others=others)
            file.write_text(text)
            self.servers[name] = NatsServer("-c", str(file))

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Let the way into each region take so long."""
        for way in self.ways.values():
            way.delay, way.jitter = seconds, jitter

    def cut(self) -> None:
        """Cut all regions off from each other. What is under way between them is lost."""
        for way in self.ways.values():
            self._run(way.close())

    def silence(self) -> None:
        """Lose everything between the regions, while the connections stay open."""
        for way in self.ways.values():
            way.silent = True

    def heal(self) -> None:
        """End the cut or the silence."""
        for way in self.ways.values():
            way.open, way.silent = True, False

    def stop(self) -> None:
        """All of it."""
        for server in self.servers.values():
            server.end()
        for way in self.ways.values():
            with suppress(Exception):
                self._run(way.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def gateways(names: Sequence[str], delay: float, folder: Path) -> Iterator[Gateways]:
    """Servers that run, for the length of a `with`."""
    with ExitStack() as stack:
        made = Gateways(names, delay, folder)
        stack.callback(made.stop)
        for server in made.servers.values():
            server.start()
        yield made
