"""One app server's side of the service without a socket: time is a number, a tunnel's transport a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from websockets.frames import Frame
from websockets.streams import StreamReader

from moorage.edge.azure.channel import Tunnel
from moorage.edge.azure.server import AzureServer
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.hub.hub import Connection
from moorage.hub.ports import Reach
from moorage.wire.azure import tunnel_frames
from moorage.wire.reasons import Reason
from tests.hub.fakes import HUB, RecordingOpening, World

TERMS = b'{"socketio":{"sid":"x","pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}'


class Sent(NamedTuple):
    """One frame that the app server got: an event (`name`), or an answer (`status`)."""

    name: str
    connection: str
    content: bytes
    ack_id: int
    status: int = 0
    more: bool = False


def messages(data: bytes) -> list[bytes]:
    """The payloads of concatenated WebSocket frames."""
    reader = StreamReader()
    reader.feed_data(data)
    found: list[bytes] = []

    def frames() -> Any:
        while True:
            frame = yield from Frame.parse(reader.read_exact, mask=False)
            found.append(bytes(frame.data))

    next(frames())
    return found


def contents(frames: list[Sent]) -> list[str]:
    """Of the messages among `frames`."""
    return [frame.content.decode() for frame in frames if frame.name == "message"]


class FakeTransport:
    """The other end of one tunnel."""

    def __init__(self, name: str, world: World, limit: int) -> None:
        self.writes: list[bytes] = []
        self.closed: list[Reason] = []
        self.tunnel = Tunnel(
            name, write=self.writes.append, close=self.closed.append, limit=limit, metrics=world.metrics
        )

    def frames(self) -> list[Sent]:
        """What came since the last look; the greeting and keep-alives are named by their type."""
        data, self.writes[:] = b"".join(self.writes), []
        return [self._sent(message) for message in messages(data)]

    @staticmethod
    def _sent(message: bytes) -> Sent:
        frame, content = tunnel_frames.decode(message)
        if isinstance(frame, tunnel_frames.Request):
            headers = frame.headers or {}
            return Sent(headers["ce-eventName"][0], headers["ce-connectionId"][0], content, frame.ack_id)
        if isinstance(frame, tunnel_frames.Response):
            return Sent("answer", "", content, frame.ack_id, frame.status_code, frame.not_completed)
        return Sent("keepalive" if message == tunnel_frames.KEEPALIVE else "greeting", "", b"", 0)


class Rig:
    """One app server `s1` of hub `app`."""

    def __init__(
        self,
        *,
        links: LinkSettings | None = None,
        limits: EdgeLimits | None = None,
        cluster: Reach | None = None,
    ) -> None:
        limits = limits or EdgeLimits()
        self._max_waiting = limits.outbox_bytes_link
        given: dict[str, Any] = {"links": links, "limits": limits, "cluster": cluster}
        self.world = World(**{name: value for name, value in given.items() if value is not None})
        self.hub = self.world.node.ensure_hub(HUB)
        self.flushes: list[Callable[[], None]] = []
        self.server = AzureServer(
            self.world.node,
            self.world.metrics,
            self.world.links,
            self.hub,
            "s1",
            later=lambda: self.flushes.append(self.server.flush),
            first_ack=1,
        )
        self.hub.servers.add(self.server.app)
        self._call = 0

    def open(self, name: str = "t1") -> FakeTransport:
        """A tunnel; its greeting is still in its frames."""
        transport = FakeTransport(name, self.world, self._max_waiting)
        self.server.tunnel_opened(transport.tunnel, self.world.now)
        return transport

    def lose(self, transport: FakeTransport) -> None:
        """A tunnel breaks."""
        self.server.tunnel_lost(transport.tunnel, self.world.now)

    def settle(self) -> None:
        """The end of the loop tick."""
        while self.flushes or self.world.scheduled or self.world.turns:
            while self.flushes:
                self.flushes.pop(0)()
            self.world.settle()

    def after(self, seconds: float) -> None:
        """Time passes."""
        self.world.now += seconds
        self.server.tick(self.world.now)
        self.settle()

    def sent(self, transport: FakeTransport) -> list[Sent]:
        """All frames of a tunnel after this tick, without greetings and keep-alives."""
        self.settle()
        return [frame for frame in transport.frames() if frame.name not in ("greeting", "keepalive")]

    def answer(self, transport: FakeTransport, event: Sent, status: int = 200, content: bytes = b"") -> None:
        """The app server answers an event."""
        frame = tunnel_frames.response(event.ack_id, status, content=content)
        self.server.received(transport.tunnel, frame, self.world.now)

    def ask(self) -> tuple[Connection, RecordingOpening]:
        """A client asks for a session."""
        opening = RecordingOpening()
        return self.world.open(opening), opening

    def client(self, transport: FakeTransport) -> Connection:
        """A client that the app server has taken."""
        connection, _ = self.ask()
        (event,) = self.sent(transport)
        self.answer(transport, event, content=TERMS)
        return connection

    def say(self, connection: Connection, *packets: str) -> None:
        """A client's packets."""
        for packet in packets:
            self.world.node.receive(connection, packet.encode())

    def call(
        self,
        transport: FakeTransport,
        path: str,
        content: bytes | None = b"",
        *,
        method: str = "POST",
        ack_id: int = 0,
        content_type: str = "text/plain",
    ) -> int:
        """The app server calls; its AckId."""
        self._call = ack_id or self._call + 1
        text = {
            "Type": 1,
            "AckId": self._call,
            "HttpMethod": method,
            "Url": f"https://host/api/hubs/{HUB}/{path}",
            "Headers": {"Content-Type": [content_type]},
        }
        frame = tunnel_frames.encode(tunnel_frames.REQUEST, json.dumps(text).encode(), content)
        self.server.received(transport.tunnel, frame, self.world.now)
        return self._call
