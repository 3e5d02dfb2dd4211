"""Stands in `sio.eio`: an Engine.IO server whose clients' connections end at the service.

It is an `engineio.AsyncServer` with all the settings of the one it replaces, so that whatever
python-socketio and its users ask of one (`sockets`, sessions, `generate_id`, `start_background_task`,
...) is there. Only where packets come from and go to is different.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import engineio
import engineio.packet

from moorage.sdk.aio.link import Link
from moorage.sdk.environ import Environ
from moorage.sdk.members import Member, Stage
from moorage.sdk.payload import RS, part_of
from moorage.sdk.terms import max_message
from moorage.wire.moorage.v1 import Close, Opened, Packet

_WITH_ATTACHMENTS: Final = re.compile(r"[56]([0-9]{1,5})-")

Work = Callable[[], Any]


class Client:
    """One client, and what python-engineio's own sockets are asked for."""

    def __init__(self, engine: Engine, number: int, sid: str, environ: Environ) -> None:
        self.server = engine
        self.link_session = engine.link.session.id
        self.number = number
        self.sid = sid
        self.environ = environ
        self.members: dict[str, Member] = {}
        """Its sockets by namespace."""
        self.session: dict[str, Any] = {}
        self.connected = True
        self.upgrading = False
        self.upgraded = "transport=websocket" in environ["QUERY_STRING"]
        """Whether it is on a WebSocket now."""
        self.closing = False
        self.gone = False
        """Nothing reaches it any more."""
        self.closed = False
        """Its disconnect handlers have run as well."""
        self.work: deque[Work] | None = None
        """What waits for its turn while something of this client runs that order depends on."""
        self.queued = 0
        """Bytes in `work`."""
        self.incoming: list[bytes] = []
        """An event whose attachments are not all here."""
        self._outgoing: list[bytes] = []
        self._missing = 0

    def send_message(self, data: str | bytes | bytearray) -> None:
        """One message. An event's attachments are held until they are complete: the service takes
        them in one frame."""
        if self.gone:
            return
        self._outgoing.append(part_of(data))
        if isinstance(data, str):
            found = _WITH_ATTACHMENTS.match(data)
            self._missing = int(found[1]) if found else 0
        else:
            self._missing -= 1
        if self._missing <= 0:
            payload = RS.join(self._outgoing)
            self._outgoing.clear()
            self.server.link.send(Packet(self.number, payload))
            if isinstance(data, str) and data.startswith("0"):
                self._answered(data)

    def _answered(self, answer: str) -> None:
        """A CONNECT was: from here on the service sends to all of the namespace, this socket included."""
        namespace = answer[1:].partition(",")[0] if answer[1:2] == "/" else "/"
        member = self.members.get(namespace)
        if member is not None and member.stage is Stage.CONNECTING:
            member.stage = Stage.CONNECTED

    @property
    def in_parts(self) -> bool:
        """An event's attachments are being handed over."""
        return bool(self._outgoing)

    async def send(self, packet: engineio.packet.Packet) -> None:
        """An Engine.IO packet: a message, or a close. The rest is the service's business."""
        if packet.packet_type == engineio.packet.MESSAGE:
            await self.server.send(self.sid, packet.data)
        elif packet.packet_type == engineio.packet.CLOSE:
            await self.close()

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End its connection. The disconnect handlers run when the service has confirmed it."""
        if not self.closing and not self.gone:
            self.server.link.send(Close(self.number))
            self.closing = True


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """See the module's text."""

    def __init__(self, original: engineio.AsyncServer, link: Link) -> None:
        # Not `super().__init__`: the settings are those of a server that has been made already.
        self.__dict__.update(vars(original))
        self.original = original
        self.link = link
        self.sockets: dict[str, Client] = {}
        self.by_number: dict[int, Client] = {}
        # The heartbeat is the service's, and with it the task that looks for silent clients.
        self.start_service_task = False

    # -- clients --------------------------------------------------------------------------------------

    def find(self, sid: str) -> Client | None:
        """The client with this Engine.IO session id."""
        return self.sockets.get(sid)

    def add(self, client: Client) -> None:
        """Take a client on this server's terms."""
        self.sockets[client.sid] = client
        self.by_number[client.number] = client
        interval = self.ping_interval + self.ping_interval_grace_period
        self.link.send(
            Opened(
                client.number,
                int(interval * 1000),
                int(self.ping_timeout * 1000),
                max_message(self),
            )
        )

    def remove(self, client: Client) -> None:
        """It is gone and its handlers have run, which may have wanted its session."""
        client.closed = True
        if self.sockets.get(client.sid) is client:
            del self.sockets[client.sid]

    def let_go(self) -> None:
        """End all connections. The clients reconnect elsewhere, whatever their handlers do here."""
        for number in self.by_number:
            self.link.send(Close(number))

    def forget_all(self) -> list[Client]:
        """The session is over: all clients, none of which can be reached any more."""
        clients = list(self.by_number.values())
        self.by_number = {}
        for client in clients:
            client.gone = True
        return clients

    def _get_socket(self, sid: str) -> Client:
        """Where the library looks for sessions, those of clients that are just leaving included."""
        client = self.sockets.get(sid)
        if client is None:
            raise KeyError("Session not found")
        return client

    # -- what python-socketio calls ---------------------------------------------------------------------

    async def send(self, sid: str, data: str | bytes | bytearray | list[Any] | dict[str, Any]) -> None:
        """Send a message to a client; nothing happens if it is gone. Waits while the queue is long."""
        client = self.sockets.get(sid)
        if client is None or client.gone:
            return
        if isinstance(data, (list, dict)):
            data = json.dumps(data, separators=(",", ":"))
        client.send_message(data)
        # In between, somebody else's event would come into this one.
        if self.link.congested and not client.in_parts:
            await self.link.drained()

    async def send_packet(self, sid: str, pkt: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet to a client."""
        client = self.sockets.get(sid)
        if client is not None and not client.gone:
            await client.send(pkt)

    async def disconnect(self, sid: str | None = None) -> None:
        """End a client's connection, or all."""
        for client in list(self.sockets.values()) if sid is None else [self.sockets.get(sid)]:
            if client is not None:
                await client.close()

    async def handle_request(self, *args: Any, **kwargs: Any) -> Any:
        """Somebody connects to this process's own web server. Its clients connect to Moorage; a
        client with the old address is told so instead of being served beside the others."""
        translate = self._async["translate_request"]
        environ = translate(*args, **kwargs)
        if asyncio.iscoroutine(environ):
            environ = await environ
        return await self._make_response(self._bad_request(self._moved()), environ)

    def _moved(self) -> str:
        return (
            f"This server's clients connect through Moorage: io({self.link.target.endpoint!r}, "
            f"{{ path: '/clients/socketio/hubs/{self.link.hub}' }})"
        )

    async def shutdown(self) -> None:
        """Nothing runs here that had to be stopped; see `Moorage.close`."""
