"""Stands in `sio.eio` of an `AsyncServer`: an Engine.IO server whose clients' connections end at the service.
It has all settings of the `engineio.AsyncServer` that it replaces, so that whatever python-socketio and its
users ask of one (`sockets`, sessions, `generate_id`, `start_background_task`, ...) is there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import engineio
import engineio.packet

from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.clients.clients import Client, ClientTable, OutgoingParts, moved_to, text_of
from moorage.sdk.clients.environ import Environ
from moorage.sdk.clients.members import Stage
from moorage.wire.moorage.v1 import Packet

Work = Callable[[], Any]


class AioClient(Client):
    """A client whose ordered handlers run in one task."""

    def __init__(self, engine: Engine, number: int, sid: str, environ: Environ) -> None:
        super().__init__(number, sid, engine.link.session_of(number), environ)
        self.server = engine
        self.work: deque[Work] | None = None
        """Jobs that wait for their turn while a handler of this client runs that order depends on."""
        self.outgoing = OutgoingParts()

    def send_message(self, data: str | bytes | bytearray) -> None:
        """Send one message. The pieces of an event are held until all are here."""
        if self.gone:
            return
        payload = self.outgoing.add(data)
        if payload is None:
            return
        self.server.link.send(Packet(self.number, payload))
        if payload[1:2] == b"0" and isinstance(data, str):
            member = self.answered_by(data)
            if member is not None:
                member.stage = Stage.CONNECTED

    async def send(self, packet: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet: a message, or a close. All others are the service's."""
        if packet.packet_type == engineio.packet.MESSAGE:
            await self.server.send(self.sid, packet.data)
        elif packet.packet_type == engineio.packet.CLOSE:
            await self.close()

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End its connection."""
        frame = self.begin_to_close()
        if frame is not None:
            self.server.link.send(frame)


class Engine(ClientTable[AioClient], engineio.AsyncServer):  # type: ignore[misc]
    """See the module's text."""

    def __init__(self, original: engineio.AsyncServer, link: Fleet) -> None:
        # Not `super().__init__`: the settings are those of a server that exists already.
        self._replace(original, "")
        self.link = link
        # The service sends the heartbeats, so no task here looks for silent clients.
        self.start_service_task = False

    async def send(self, sid: str, data: str | bytes | bytearray | list[Any] | dict[str, Any]) -> None:
        """Send a message to a client; nothing happens if it is gone. Waits while the queue is long."""
        client = self.sockets.get(sid)
        if client is None or client.gone:
            return
        client.send_message(text_of(data))
        # Between the pieces of an event nothing may wait: another event would come between them.
        if self.link.congested and not client.outgoing.parts:
            await self.link.drained()

    async def send_packet(self, sid: str, pkt: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet to a client."""
        client = self.sockets.get(sid)
        if client is not None and not client.gone:
            await client.send(pkt)

    async def disconnect(self, sid: str | None = None) -> None:
        """End a client's connection, or all."""
        for client in self._named(sid):
            await client.close()

    async def handle_request(self, *args: Any, **kwargs: Any) -> Any:
        """A client connects to this process's own web server, because it has the old address. It is told
        where to connect instead of being served beside the others."""
        environ = self._async["translate_request"](*args, **kwargs)
        if asyncio.iscoroutine(environ):
            environ = await environ
        text = moved_to(self.link.target.endpoint, self.link.hub)
        return await self._make_response(self._bad_request(text), environ)

    async def shutdown(self) -> None:
        """There is nothing to stop; see `Moorage.close`."""
