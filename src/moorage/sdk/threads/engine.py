"""Stands in `sio.eio` of a synchronous `Server`: an Engine.IO server whose clients' connections end at the
service. It has all settings of the `engineio.Server` that it replaces, and every name that python-socketio,
Flask-SocketIO and their users ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import engineio
import engineio.packet

from moorage.sdk.clients.clients import Client, ClientTable, OutgoingParts, text_of
from moorage.sdk.clients.environ import Environ
from moorage.sdk.clients.members import Stage
from moorage.sdk.threads.pool import Pool, SerialQueue
from moorage.wire.moorage.v1 import Drain, FromApp, Packet

Transmit = Callable[[FromApp, str], None]
"""Sends a frame, in the session that is named and in no other."""


class ThreadsClient(Client):
    """A client whose ordered handlers run one after another in threads of the pool."""

    def __init__(self, engine: Engine, session: str, number: int, sid: str, environ: Environ) -> None:
        super().__init__(number, sid, session, environ)
        self.server = engine
        self.running = 0
        """Handlers of its events that have not ended. Only under the dispatcher's lock."""
        self.jobs = SerialQueue(engine.pool)
        """Runs the handlers whose order matters."""
        self.when_empty: Callable[[], object] | None = None
        """A job for the queue, once the last of its sockets is gone."""

    def send(self, packet: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet: a message, or a close. All others are the service's."""
        if packet.packet_type == engineio.packet.MESSAGE:
            self.server.send(self.sid, packet.data)
        elif packet.packet_type == engineio.packet.CLOSE:
            self.close()

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End its connection."""
        frame = self.begin_to_close()
        if frame is not None:
            self.server.transmit(frame, self.link_session)


class Engine(ClientTable[ThreadsClient], engineio.Server):  # type: ignore[misc]  # engineio has no types
    """See the module's text."""

    def __init__(
        self, original: Any, *, transmit: Transmit, post: Transmit, pool: Pool, elsewhere: str
    ) -> None:
        # Not `super().__init__`: the settings are those of a server that exists already.
        self._replace(original, elsewhere)
        self.transmit = transmit
        self._post = post
        self.answering = threading.Lock()
        """Held while a CONNECT is answered, so that every emit comes either before or after the answer."""
        self.pool = pool
        self.give_back: Callable[[], None] | None = None
        """In a process that was forked after the link was made: restores the server's own engine."""
        self._outgoing = threading.local()
        """`parts`: the `OutgoingParts` of each thread."""

    def send(self, sid: str, data: Any) -> None:
        """Send a message to a client; nothing happens if it is gone. The pieces of an event leave in one
        frame, so that no packet of another thread gets between them."""
        client = self.sockets.get(sid)
        if client is None or client.gone:
            return
        data = text_of(data)
        outgoing = getattr(self._outgoing, "parts", None)
        if outgoing is None:
            outgoing = self._outgoing.parts = OutgoingParts()
        payload = outgoing.add(data)
        if payload is None:
            return
        packet = Packet(client.number, payload)
        member = client.answered_by(data) if payload[1:2] == b"0" and isinstance(data, str) else None
        if member is None:
            self.transmit(packet, client.link_session)
            return
        with self.answering:
            self._post(packet, client.link_session)
            member.stage = Stage.CONNECTED

    def send_packet(self, sid: str, pkt: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet to a client."""
        client = self.sockets.get(sid)
        if client is not None:
            client.send(pkt)

    def disconnect(self, sid: str | None = None) -> None:
        """End a client's connection, or all."""
        for client in self._named(sid):
            client.close()

    def leave(self) -> None:
        """This app server leaves: end all connections. Because of the *Drain* the service lets the clients
        reconnect."""
        self.transmit(Drain(0.0), "")
        for client in self.by_number.values():
            client.close()

    def forked(self, detach: Callable[[], None]) -> None:
        """Called in a forked child. The clients belong to the parent."""
        self.give_back = detach
        self.sockets, self.by_number = {}, {}

    def handle_request(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        """A client connects to this process's own web server, because it has the old address. It is told
        where to connect instead of being served beside the others."""
        answer = self._bad_request(self._elsewhere)
        start_response(answer["status"], answer["headers"] + self._cors_headers(environ))
        return [answer["response"]]

    def shutdown(self) -> None:
        """There is nothing to stop; see `ThreadedMoorage.close`."""
