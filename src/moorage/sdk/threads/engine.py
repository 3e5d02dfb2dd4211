"""Stands in `sio.eio` under a synchronous `socketio.Server`: an Engine.IO server whose clients are elsewhere.

What `engine` is for an AsyncServer, for threads. It has all settings of the `engineio.Server` that it
replaces, and answers by every name that python-socketio, Flask-SocketIO and their users reach for.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import engineio
import engineio.packet

from moorage.sdk.environ import Environ
from moorage.sdk.members import Member, Stage
from moorage.sdk.payload import RS, part_of
from moorage.sdk.terms import max_message
from moorage.sdk.threads.pool import Pool, SerialQueue
from moorage.wire.moorage.v1 import Close, Drain, FromApp, Opened, Packet

_WITH_ATTACHMENTS: Final = re.compile(r"[56]([0-9]{1,5})-")

Transmit = Callable[[FromApp, str], None]
"""Sends a frame, in the session that is named and in no other."""


class Client:
    """One client, and what python-engineio's own sockets are asked for."""

    def __init__(self, engine: Engine, session: str, number: int, sid: str, environ: Environ) -> None:
        self.server = engine
        self.link_session = session
        """The session of the link in which `number` names this client."""
        self.number = number
        self.sid = sid
        self.environ = environ
        self.jobs = SerialQueue(engine.pool)
        """Where what this client's order depends on runs."""
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
        self.queued = 0
        """Bytes that wait in its queue."""
        self.when_empty: Callable[[], object] | None = None
        """For the queue, once the last of its sockets is gone."""
        self.incoming: list[bytes] = []
        """An event whose attachments are not all here."""

    def send(self, packet: engineio.packet.Packet) -> None:
        """An Engine.IO packet: a message, or a close. The rest is the service's business."""
        if packet.packet_type == engineio.packet.MESSAGE:
            self.server.send(self.sid, packet.data)
        elif packet.packet_type == engineio.packet.CLOSE:
            self.close()

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End its connection. The disconnect handlers run when the service has confirmed it."""
        if not self.closing and not self.gone:
            self.server.transmit(Close(self.number), self.link_session)
            self.closing = True


class Engine(engineio.Server):  # type: ignore[misc]  # python-engineio is not annotated
    """See the module's text."""

    def __init__(
        self, original: Any, *, transmit: Transmit, post: Transmit, pool: Pool, elsewhere: str
    ) -> None:
        # Not `super().__init__`: the settings are those of a server that has been made already.
        self.__dict__.update(vars(original))
        self.original = original
        self.transmit = transmit
        self._post = post
        self.answering = threading.Lock()
        """Held where a CONNECT is answered: an emit is either before that or after it."""
        self.pool = pool
        self.sockets: dict[str, Client] = {}
        self.by_number: dict[int, Client] = {}
        self.give_back: Callable[[], None] | None = None
        """In a process that was forked after the link: what gives the server back."""
        self._elsewhere = elsewhere
        self._half = threading.local()
        """Of each thread: `parts` of a packet whose attachments are to come, and how many `missing`."""

    # -- clients, on the link's thread -----------------------------------------------------------------

    def add(self, client: Client) -> None:
        """Take a client on this server's terms."""
        self.sockets[client.sid] = client
        self.by_number[client.number] = client
        interval = self.ping_interval + self.ping_interval_grace_period
        limit = max_message(self)
        answer = Opened(client.number, int(interval * 1000), int(self.ping_timeout * 1000), limit)
        self.transmit(answer, client.link_session)

    def remove(self, client: Client) -> None:
        """It is gone and its handlers have run, which may have wanted its session."""
        client.closed = True
        self.sockets.pop(client.sid, None)

    def forget_all(self) -> list[Client]:
        """The session is over: all clients, none of which can be reached any more."""
        clients, self.by_number = list(self.by_number.values()), {}
        return clients

    # -- what python-socketio calls, in any thread -------------------------------------------------------

    def send(self, sid: str, data: Any) -> None:
        """Send one message to a client; nothing happens if it is gone.

        python-socketio hands over an event and its attachments one by one. They leave in one frame, so
        that no other thread's packet can get between them.
        """
        client = self.sockets.get(sid)
        if client is None or client.gone:
            return
        if isinstance(data, (list, dict)):
            data = json.dumps(data, separators=(",", ":"))
        half = self._half
        if isinstance(data, str):
            found = _WITH_ATTACHMENTS.match(data)
            half.missing = int(found[1]) if found else 0
            half.parts = [part_of(data)]
        else:
            half.missing = getattr(half, "missing", 0) - 1
            half.parts = [*getattr(half, "parts", ()), part_of(data)]
        if half.missing <= 0:
            parts, half.parts = half.parts, []
            packet = Packet(client.number, RS.join(parts))
            if isinstance(data, str) and data.startswith("0"):
                self._answer(client, data, packet)
            else:
                self.transmit(packet, client.link_session)

    def _answer(self, client: Client, answer: str, packet: Packet) -> None:
        """To a CONNECT: from here on the service sends to all of the namespace, this socket included."""
        namespace = answer[1:].partition(",")[0] if answer[1:2] == "/" else "/"
        member = client.members.get(namespace)
        with self.answering:
            self._post(packet, client.link_session)
            if member is not None and member.stage is Stage.CONNECTING:
                member.stage = Stage.CONNECTED

    def send_packet(self, sid: str, pkt: engineio.packet.Packet) -> None:
        """Send an Engine.IO packet to a client."""
        client = self.sockets.get(sid)
        if client is not None:
            client.send(pkt)

    def disconnect(self, sid: str | None = None) -> None:
        """End a client's connection, or all."""
        for client in list(self.sockets.values()) if sid is None else [self.sockets.get(sid)]:
            if client is not None:
                client.close()

    def let_go(self) -> None:
        """End all clients' connections, for this app server leaves. After the *Drain* the service lets
        them come back."""
        self.transmit(Drain(0.0), "")
        for client in self.by_number.values():
            client.close()

    def forked(self, detach: Callable[[], None]) -> None:
        """This is a copy of the process that has the clients."""
        self.give_back = detach
        self.sockets, self.by_number = {}, {}

    def _get_socket(self, sid: str) -> Client:
        """Where the library looks for sessions, those of clients that are just leaving included."""
        client = self.sockets.get(sid)
        if client is None:
            raise KeyError("Session not found")
        return client

    def handle_request(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        """Somebody connects to this process's own web server. Its clients connect to Moorage; a client
        with the old address is told so instead of being served beside the others."""
        answer = self._bad_request(self._elsewhere)
        start_response(answer["status"], answer["headers"] + self._cors_headers(environ))
        return [answer["response"]]

    def shutdown(self) -> None:
        """Nothing runs here that had to be stopped; see `ThreadedMoorage.close`."""
