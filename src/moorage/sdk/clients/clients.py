"""The clients of one app server, as `sio.eio` keeps them. No I/O. `Client` stands for python-engineio's
socket, `ClientTable` for its server. Only where packets come from and go to differs from a native server; the
executors add that."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Generic, TypeVar

from moorage.sdk.clients.environ import Environ
from moorage.sdk.clients.members import Member, Parting, Stage
from moorage.sdk.clients.restored import Restored
from moorage.sdk.link.planner import slot_of
from moorage.sdk.link.terms import max_message
from moorage.sdk.payload import RS, part_of
from moorage.wire.moorage.v1 import Close, Opened, Trace

_ATTACHMENTS: Final = re.compile(r"[56]([0-9]{1,5})-")


class OutgoingParts:
    """Joins the pieces of one event. python-socketio hands over an event and its attachments one by one; the
    service takes them in one frame."""

    __slots__ = ("_missing", "parts")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """The pieces of an event whose attachments are not all here."""
        self._missing = 0

    def add(self, data: str | bytes | bytearray) -> bytes | None:
        """The payload that `data` completes; None while attachments are missing."""
        if isinstance(data, str):
            found = _ATTACHMENTS.match(data) if data[:1] in "56" else None
            if found is None:
                self.parts.clear()
                return part_of(data)
            self._missing = int(found[1])
        else:
            self._missing -= 1
        self.parts.append(part_of(data))
        if self._missing > 0:
            return None
        payload = RS.join(self.parts)
        self.parts.clear()
        return payload


class Client:
    """One client, with the attributes of python-engineio's own sockets."""

    def __init__(self, number: int, sid: str, link_session: str, environ: Environ) -> None:
        self.number = number
        self.sid = sid
        self.link_session = link_session
        """The session of the link in which `number` names this client."""
        self.environ = environ
        self.members: dict[str, Member] = {}
        """Its sockets by namespace."""
        self.restored: dict[str, Restored] = {}
        """Sockets of earlier connections that go on with this client, until they connect."""
        self.session: dict[str, Any] = {}
        self.connected = True
        self.upgrading = False
        self.upgraded = "transport=websocket" in environ["QUERY_STRING"]
        """True while it is on a WebSocket."""
        self.closing = False
        self.gone = False
        """True once packets no longer reach the client."""
        self.may_return = False
        """True if its connection was lost and it may come back to its sockets."""
        self.closed = False
        """True once its disconnect handlers have run as well."""
        self.parting = Parting.NO
        self.queued = 0
        """Bytes of its packets that wait for their turn."""
        self.trace: Trace | None = None
        """The trace that its next packet belongs to."""
        self.incoming: list[bytes] = []
        """An event whose attachments are not all here."""

    def answered_by(self, message: str) -> Member | None:
        """The connecting socket whose CONNECT `message` answers. When the answer is sent the socket is
        connected: from then on the service sends it the emits to all of its namespace."""
        namespace = message[1:].partition(",")[0] if message[1:2] == "/" else "/"
        member = self.members.get(namespace)
        return member if member is not None and member.stage is Stage.CONNECTING else None

    def begin_to_close(self) -> Close | None:
        """The frame that ends the connection, once. The disconnect handlers run when the service has
        confirmed it."""
        if self.closing or self.gone:
            return None
        self.closing = True
        return Close(self.number)


ClientT = TypeVar("ClientT", bound=Client)


class ClientTable(Generic[ClientT]):
    """All clients. Both executors' engines mix it into one of python-engineio's servers."""

    sockets: dict[str, ClientT]
    by_number: dict[int, ClientT]

    def _replace(self, original: Any, elsewhere: str) -> None:
        """Take over all settings of the `original` engine, which has been made already. `elsewhere` is
        the answer to clients that connect to this process's own web server."""
        self.__dict__.update(vars(original))
        self.original = original
        self.sockets = {}
        self.by_number = {}
        self._elsewhere = elsewhere

    def take(self, client: ClientT) -> Opened:
        """Add a client. Returns the frame that accepts it, with this server's settings."""
        self.sockets[client.sid] = client
        self.by_number[client.number] = client
        server: Any = self
        interval = server.ping_interval + server.ping_interval_grace_period
        timeout = int(server.ping_timeout * 1000)
        return Opened(client.number, int(interval * 1000), timeout, max_message(self))

    def remove(self, client: ClientT) -> None:
        """The client is gone and its handlers have run. Until then they may use its session."""
        client.closed = True
        if self.sockets.get(client.sid) is client:
            del self.sockets[client.sid]

    def forget_all(self, slot: int | None = None) -> list[ClientT]:
        """The session with this slot is over, or all are. Returns its clients; no packet can reach them any
        more. If several threads close the app server at once, each client is returned to one of them."""
        clients = []
        for number, client in list(self.by_number.items()):
            if slot not in {None, slot_of(number)} or self.by_number.pop(number, None) is None:
                continue
            client.gone = True
            clients.append(client)
        return clients

    def _get_socket(self, sid: str) -> ClientT:
        """The library looks for sessions here, including those of clients that are just leaving."""
        client = self.sockets.get(sid)
        if client is None:
            raise KeyError("Session not found")
        return client

    def _named(self, sid: str | None) -> list[ClientT]:
        """The client with this session id, or all."""
        if sid is None:
            return list(self.sockets.values())
        client = self.sockets.get(sid)
        return [] if client is None else [client]


def text_of(data: Any) -> Any:
    """A message as it is sent: python-engineio takes lists and dicts as JSON."""
    return json.dumps(data, separators=(",", ":")) if isinstance(data, (list, dict)) else data


def moved_to(endpoint: str, hub: str) -> str:
    """The answer to a client that connects to the app server's own address."""
    return (
        f"This server's clients connect through Moorage: io({endpoint!r}, "
        f"{{ path: '/clients/socketio/hubs/{hub}' }})"
    )
