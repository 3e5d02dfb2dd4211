"""An app server of the moorage dialect over a plain WebSocket: frames in, frames out.

It keeps the stream's rules with the same halves as the service, and does nothing by itself but
acknowledge: a test says what the app server says.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from moorage.wire.moorage import v1
from moorage.wire.moorage.stream import Incoming, Outgoing
from tests.support.app_link import tunnel_token, tunnel_url
from tests.support.service import MoorageProcess

TIMEOUT = 30.0
PROTOCOL = {"Sec-WebSocket-Protocol": v1.SUBPROTOCOL}
"""The header that requests this dialect."""
FrameT = TypeVar("FrameT")


def target(service: MoorageProcess, hub: str, **claims: object) -> str:
    """A link's request target, with a token."""
    return f"/server/tunnel?hub={hub}&access_token={tunnel_token(service, hub, 'by-hand', **claims)}"


def greeting(session: str = "", revision: int = v1.REVISION) -> bytes:
    """A hello, as a message."""
    hello = v1.AppHello(revision, "test", session, 0, 1 << 22)
    return v1.encode_batch(0, 0, [v1.encode_frame(hello)])


class TunnelLink:
    """Use as an async context manager: it is greeted inside, and every client is accepted automatically."""

    def __init__(self, service: MoorageProcess, hub: str, server_id: str = "", window: int = 1 << 22) -> None:
        self.service = service
        self.hub = hub
        self.server_id = server_id or secrets.token_hex(8)
        self.out = Outgoing(window)
        self.inc = Incoming(window)
        self.hello: v1.ServiceHello
        self.frames: asyncio.Queue[v1.FromService] = asyncio.Queue()
        self.terms = (25_000, 20_000, 1_000_000)
        self.takes = True
        """Answer `Open` and CONNECT automatically."""
        self.acks = True
        """Acknowledge batches automatically."""
        self.up = False
        """Set once the link is greeted and unacknowledged batches are repeated; new frames may be sent."""
        self.recovery = 0
        """For how many milliseconds clients may be away."""
        self.port: int | None = None
        """Connect to this port instead of the service's."""
        self.clients: dict[int, v1.Open] = {}
        self.socket: ClientConnection
        self._reader: asyncio.Task[None] | None = None
        self._ref = 0

    async def __aenter__(self) -> TunnelLink:
        await self.dial()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def dial(self, session: str = "") -> None:
        """Open a link, and resume the session if there is one."""
        token = tunnel_token(self.service, self.hub, self.server_id)
        other_way: dict[str, Any] = {} if self.port is None else {"host": "127.0.0.1", "port": self.port}
        self.socket = await connect(
            f"{tunnel_url(self.service, self.hub)}&access_token={token}",
            subprotocols=[v1.SUBPROTOCOL],  # type: ignore[list-item]
            max_size=None,
            ping_interval=None,
            open_timeout=TIMEOUT,
            close_timeout=1,
            compression=None,
            **other_way,
        )
        hello = v1.AppHello(
            v1.REVISION, "test", session, self.inc.received, self.inc.window, recovery=self.recovery
        )
        await self.socket.send(v1.encode_batch(0, 0, [v1.encode_frame(hello)]))
        answer = v1.decode_from_service(await self._recv()).frames[0]
        assert isinstance(answer, v1.ServiceHello)
        self.hello = answer
        if session and answer.resumed:
            for batch in self.out.resume(answer.received):
                await self.socket.send(batch)
        else:
            self.out, self.inc = Outgoing(answer.window), Incoming(self.inc.window)
        self.up = True
        self._reader = asyncio.create_task(self._read())
        await self.say()

    async def ended(self) -> None:
        """Wait for the end of this link. Raises an error of the reader."""
        reader = self._reader
        if reader is not None:
            await reader
        if reader is self._reader:
            self.up = False

    async def _recv(self) -> bytes:
        async with asyncio.timeout(TIMEOUT):
            data = await self.socket.recv()
        assert isinstance(data, bytes)
        return data

    async def hang_up(self) -> None:
        """Send a farewell. Raises an error of the reader."""
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            self._reader.result()
        await self.cut(polite=True)

    async def cut(self, *, polite: bool = False) -> None:
        """End the link with a farewell, or break it."""
        self.up = False
        if self._reader is not None:
            self._reader.cancel()
        if polite:
            await self.socket.close()
        else:
            self.socket.transport.abort()
            await self.socket.wait_closed()

    async def _read(self) -> None:
        socket = self.socket
        with suppress(ConnectionClosed):
            async for data in socket:
                assert isinstance(data, bytes)
                await self._batch(data)
        if socket is self.socket:
            # Without credit, nothing would be sent that fails.
            self.up = False

    async def _batch(self, data: bytes) -> None:
        batch = v1.decode_from_service(data)
        self.out.taken(batch.ack)
        if batch.number and self.inc.arrived(batch.number, len(data), len(batch.frames)):
            for frame in batch.frames:
                await self._frame(frame)
        if self.acks:
            self.inc.take_all()
        if self.acks and self.inc.is_due:
            await self.ack()
        # With the credit that the batch may have returned.
        await self.say()

    async def _frame(self, frame: v1.FromService) -> None:
        if isinstance(frame, v1.Open):
            self.clients[frame.client] = frame
            if self.takes:
                await self.say(v1.Opened(frame.client, *self.terms))
        elif isinstance(frame, v1.Packet) and self.takes and frame.payload[:2] == b"40":
            namespace, _, _ = frame.payload[2:].partition(b",")
            name = namespace + b"," if namespace.startswith(b"/") else b""
            sid = f"s{frame.client}{namespace.decode() if name else ''}"
            await self.say(v1.Packet(frame.client, b'40%b{"sid":"%b"}' % (name, sid.encode())))
        self.frames.put_nowait(frame)

    async def say(self, *frames: v1.FromApp) -> None:
        """Send frames as far as there is credit, and the rest with the next call. While the link is down
        they wait."""
        for frame in frames:
            self.out.queue(v1.encode_frame(frame))
        while self.up and (batch := self.out.take(self.inc.ack)) is not None:
            self.inc.told()
            try:
                await self.socket.send(batch)
            except ConnectionClosed:
                # It is kept and sent again at a resume.
                self.up = False

    async def next(self, kind: type[FrameT]) -> FrameT:
        """The next frame of a type; others before it are dropped."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                frame = await self.frames.get()
                if isinstance(frame, kind):
                    return frame

    async def ack(self) -> None:
        """Send an acknowledgement alone."""
        await self.socket.send(v1.encode_batch(0, self.inc.told(), []))

    async def ask(self, make: Callable[[int], v1.FromApp], kind: type[FrameT]) -> FrameT:
        """Send a request. Returns the first frame of `kind` that answers it; others before it are dropped."""
        ref = self.ref()
        await self.say(make(ref))
        while True:
            frame = await self.next(kind)
            if getattr(frame, "ref", None) == ref:
                return frame

    def ref(self) -> int:
        """A new ref."""
        self._ref += 1
        return self._ref
