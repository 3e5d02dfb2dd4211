"""The service's end of a link, driven by a test: it greets, keeps the stream's rules, and does nothing else.

For what a real service does not do on cue: falling silent, forgetting, sending junk, taking nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import Incoming, Outgoing

TIMEOUT = 30.0
FrameT = TypeVar("FrameT")


class Session:
    """Both halves of one session's stream."""

    def __init__(self, window_of_app: int, window: int) -> None:
        self.out = Outgoing(window_of_app)
        self.inc = Incoming(window)


class ServicePeer:
    """Use as an async context manager. Set the fields before the app server dials, or between its links."""

    def __init__(self) -> None:
        self.window = 1 << 22
        self.max_batch = 1 << 24
        self.keepalive = 5000
        self.grace = 5000
        self.keeps = False
        self.revision = 1
        self.recovery = 0
        self.node = "node"
        self.subprotocols = [v1.SUBPROTOCOL]
        self.greets = True
        self.takes = True
        """Acknowledge what comes."""
        self.first: bytes | None = None
        """To be sent instead of a hello."""
        self.close_with: tuple[int, str] | None = None
        """Close instead of a hello."""
        self.sessions: dict[str, Session] = {}
        self.hellos: asyncio.Queue[v1.AppHello] = asyncio.Queue()
        self.frames: asyncio.Queue[v1.FromApp] = asyncio.Queue()
        self.closes: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.messages = 0
        self.session: Session
        self.connection: ServerConnection
        self._names = itertools.count(1)
        self._server: Server

    async def __aenter__(self) -> ServicePeer:
        await self.listen(0)
        return self

    async def listen(self, port: int) -> None:
        """Take links."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            subprotocols=self.subprotocols or None,  # type: ignore[arg-type]
            max_size=None,
            ping_interval=None,
            compression=None,
            close_timeout=1,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> int:
        """Nobody listens any more; the port, to listen on again."""
        port = self.port
        self._server.close()
        await self._server.wait_closed()
        return port

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def connection_string(self) -> str:
        """For the app server."""
        return f"Endpoint=http://127.0.0.1:{self.port};AccessKey=key;"

    # -- what a test says -----------------------------------------------------------------------------

    async def send(self, *frames: v1.FromService) -> None:
        """One batch."""
        for frame in frames:
            self.session.out.queue(v1.encode_frame(frame))
        batch = self.session.out.take(self.session.inc.ack)
        assert batch is not None, "no credit"
        await self.connection.send(batch)

    async def raw(self, message: bytes | str) -> None:
        """A message as it is."""
        await self.connection.send(message)

    def cut(self) -> None:
        """The cable is pulled."""
        self.connection.transport.abort()

    def forget(self) -> None:
        """As if restarted."""
        self.sessions.clear()

    # -- what it hears --------------------------------------------------------------------------------

    async def hello(self) -> v1.AppHello:
        """The next link's hello."""
        async with asyncio.timeout(TIMEOUT):
            return await self.hellos.get()

    async def frame(self, kind: type[FrameT]) -> FrameT:
        """The next frame, which must be of this kind."""
        frame = await self.any_frame()
        assert isinstance(frame, kind), frame
        return frame

    async def any_frame(self) -> v1.FromApp:
        """The next frame."""
        async with asyncio.timeout(TIMEOUT):
            return await self.frames.get()

    async def close(self) -> tuple[int, str]:
        """How the app server ended its next link."""
        async with asyncio.timeout(TIMEOUT):
            return await self.closes.get()

    # -- the link -------------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            await self._greet(connection)
            async for message in connection:
                assert isinstance(message, bytes)
                batch = v1.decode_from_app(message)
                for frame in batch.frames:
                    self._uncount(frame)
                await self._message(connection, batch, len(message))
        except ConnectionClosed:
            pass
        await connection.wait_closed()
        if connection.close_code != 1006:
            self.closes.put_nowait((connection.close_code or 0, connection.close_reason or ""))

    def _uncount(self, frame: v1.FromApp) -> None:
        """Check that the frame has a number, and take it off, so that tests compare the rest."""
        if type(frame) in v1.COUNTED:
            number = frame.number  # type: ignore[union-attr]
            assert number > 0
            frame.number = 0  # type: ignore[union-attr]

    async def _greet(self, connection: ServerConnection) -> None:
        message = await connection.recv()
        assert isinstance(message, bytes)
        number, ack, frames = v1.decode_from_app(message)
        hello = frames[0]
        assert (number, ack, len(frames)) == (0, 0, 1)
        assert isinstance(hello, v1.AppHello)
        self.hellos.put_nowait(hello)
        if self.close_with is not None:
            await connection.close(*self.close_with)
        elif self.first is not None:
            await connection.send(self.first)
        elif self.greets:
            await self._answer(connection, hello)

    async def _answer(self, connection: ServerConnection, hello: v1.AppHello) -> None:
        known = self.sessions.get(hello.session)
        name = hello.session if known else f"session{next(self._names)}"
        session = self.sessions[name] = known or Session(hello.window, self.window)
        self.session, self.connection = session, connection
        answer = v1.ServiceHello(
            self.revision,
            "test",
            name,
            known is not None,
            session.inc.received,
            self.window,
            self.max_batch,
            self.keepalive,
            self.grace,
            "app",
            self.node,
            0,
            self.recovery,
            self.keeps,
        )
        await connection.send(v1.encode_batch(0, 0, [v1.encode_frame(answer)]))
        if known is not None:
            for batch in session.out.resume(hello.received):
                await connection.send(batch)

    async def _message(self, connection: ServerConnection, batch: v1.Batch[v1.FromApp], size: int) -> None:
        self.messages += 1
        self.session.out.taken(batch.ack)
        if not batch.number or not self.session.inc.arrived(batch.number, size):
            return
        for frame in batch.frames:
            self.frames.put_nowait(frame)
        if self.takes:
            await self.acknowledge()

    async def acknowledge(self) -> None:
        """All that came."""
        self.session.inc.take_all()
        await self.connection.send(v1.encode_batch(0, self.session.inc.told(), []))


def frames_of(messages: Sequence[bytes]) -> list[v1.FromApp]:
    """All frames of an app server's batches."""
    return [frame for message in messages for frame in v1.decode_from_app(message).frames]
