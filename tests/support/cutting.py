"""A hop between an app server and the service that breaks after a number of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class Cutter:
    """Use as an async context manager. Each connection takes the next of `budgets`: after that many
    bytes, both directions together, both its ends are reset. Those after the last go on for ever."""

    def __init__(self, url: str, budgets: Iterable[int]) -> None:
        self._target = urlsplit(url)
        self._budgets = iter(budgets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0
        self.cuts = 0
        """The number of connections that were reset."""

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        budget = next(self._budgets, None)
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        left = [budget]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if left[0] is not None:
                    data = data[: left[0]]
                    left[0] -= len(data)
                sink.write(data)
                await sink.drain()
                if left[0] == 0:
                    self.cuts += 1
                    return

        pumps = [
            asyncio.ensure_future(pump(reader, far_writer)),
            asyncio.ensure_future(pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # Forwarded bytes do arrive.
            with suppress(ConnectionError):
                await asyncio.gather(writer.drain(), far_writer.drain())
        finally:
            for one in pumps:
                one.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, far_writer):
                end.transport.abort()
            self._tasks.discard(task)
