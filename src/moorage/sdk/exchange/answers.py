"""Results of calls that several sockets or app servers answer, and the names of those that did not answer in
time."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import orjson

from moorage.sdk.clients.environ import Handshake, parse_handshake, parse_headers
from moorage.sdk.clients.facts import ToldFacts
from moorage.sdk.clients.members import Member
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Answer, Data, FromService, Row, Sockets


class RemoteSocket:
    """One socket of `fetch_sockets`, of any app server. Its data is decoded on first use, because a call may
    return tens of thousands of sockets."""

    def __init__(
        self, row: Row, namespace: str, server_id: str, facts: Callable[[], Any], shared: bytes = b"{}"
    ) -> None:
        self._row = row
        self._tell_facts = facts
        self._shared = shared
        self.id = row.id
        """The socket id; handlers call it `sid`."""
        self.namespace = namespace
        self.server_id = server_id
        """The app server that serves it."""

    @property
    def user_id(self) -> str | None:
        """The user id of the client's access token."""
        return self._row.user

    @property
    def connection_id(self) -> str:
        """Id of the client's connection, which its sockets in other namespaces share."""
        return self._row.connection

    @cached_property
    def rooms(self) -> frozenset[str]:
        """Names of its rooms, including its own room."""
        return frozenset((self.id, *self._row.rooms))

    @property
    def connected_at(self) -> datetime.datetime:
        """When the socket connected, in UTC."""
        return datetime.datetime.fromtimestamp(self._row.opened / 1000, datetime.UTC)

    @cached_property
    def handshake(self) -> dict[str, Any]:
        """`headers`, `query` and `claims` (lists of strings by name), `url`, `address`, `secure`,
        `issued` in milliseconds since 1970, and `auth`, what the client gave at connecting. Members
        that the app server's dialect does not tell are missing."""
        found: Handshake = parse_handshake(self._row.handshake)
        if self._row.shared:
            headers = {**parse_headers(self._shared), **found.get("headers", {})}
            return {**found, "headers": headers, "auth": self._facts.get("auth")}
        return {**found, "auth": self._facts.get("auth")}

    @property
    def data(self) -> Any:
        """A Python app server's session of the socket, a Node.js app server's `socket.data`. Empty
        where there is none, or the app server is in `missing`."""
        return self._facts.get("data", {})

    @property
    def left_out(self) -> dict[str, str]:
        """Members of a session that JSON has no form for: path -> problem."""
        found = self._facts.get("left_out", {})
        return found if isinstance(found, dict) else {}

    @cached_property
    def _facts(self) -> dict[str, Any]:
        found = self._tell_facts()
        return found if isinstance(found, dict) else {}

    def __repr__(self) -> str:
        return f"<RemoteSocket {self.id} of {self.server_id}>"


@dataclass(frozen=True, slots=True)
class FetchedSockets(Sequence[RemoteSocket]):
    """A sequence of sockets. `missing`: app servers that did not tell their sockets' `data` and `auth`
    in time; their sockets are here nevertheless."""

    sockets: tuple[RemoteSocket, ...]
    missing: tuple[str, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.sockets[index]

    def __len__(self) -> int:
        return len(self.sockets)

    def __iter__(self) -> Iterator[RemoteSocket]:
        return iter(self.sockets)


@dataclass(frozen=True, slots=True)
class Acks:
    """`answers`: by socket id (`emit_with_acks`) or server id (`server_side_emit_with_ack`), in the form
    that `sio.call` returns: one value, None for none, a tuple for several. `missing`: who was asked
    and did not answer in time."""

    answers: dict[str, Any]
    missing: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, slots=True)
class AppServer:
    """One app server of the hub. `dialect` is `moorage` or `azure`; not `up`: its link is down and
    its grace time runs."""

    id: str
    dialect: str
    up: bool
    clients: int


def one_value(arguments: list[Any]) -> Any:
    """The form in which `sio.call` returns an ack."""
    if len(arguments) > 1:
        return tuple(arguments)
    return arguments[0] if arguments else None


@dataclass(slots=True)
class AckCollector:
    """Gathers the `Answer`s of an `Ask` or a `Tell`."""

    codec: Codec
    answers: dict[str, Any] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def part(self, frame: FromService, _source: int = 0) -> None:
        """One part of the answer."""
        if not isinstance(frame, Answer):
            return
        try:
            self.answers[frame.sender] = one_value(self.codec.arguments(frame.payload))
        except ValueError:
            self.unreadable.append(frame.sender)

    def result(self, missing: tuple[str, ...]) -> Acks:
        """The end of the answer."""
        return Acks(self.answers, (*missing, *self.unreadable))


@dataclass(slots=True)
class SocketCollector:
    """Gathers the `Sockets` and `Data` of a `Fetch`."""

    namespace: str
    rows: list[tuple[Row, tuple[int, str], bytes]] = field(default_factory=list)
    """With the source of the answer, the app server, and headers that the row shares with others."""
    told: dict[tuple[int, str], list[Callable[[], Any]]] = field(default_factory=dict)
    """By source and app server, in the order of its rows."""
    facts: dict[str, bytes] = field(default_factory=dict)
    own: dict[str, bytes] = field(default_factory=dict)
    """Handshakes of own sockets by socket id: the service does not repeat them."""

    def know(self, member: Member, facts: bytes) -> None:
        """One of the asker's own sockets."""
        self.own[member.sid] = member.client.environ["moorage.handshake"]
        self.facts[member.sid] = facts

    def part(self, frame: FromService, source: int = 0) -> None:
        """One part of the answer."""
        if isinstance(frame, Sockets):
            servers = [(source, server) for server in frame.servers]
            shared = {each.number: each.headers for each in frame.headers}
            self.rows.extend((row, servers[row.server], shared.get(row.shared, b"{}")) for row in frame.rows)
        elif isinstance(frame, Data):
            told = self.told.setdefault((source, frame.server), [])
            for chunk in frame.chunks:
                told += ToldFacts(chunk).each()

    def result(self, missing: tuple[str, ...]) -> FetchedSockets:
        """The end of the answer."""
        told = {server: iter(facts) for server, facts in self.told.items()}
        nobody: Iterator[Callable[[], Any]] = iter(())
        return FetchedSockets(
            tuple(
                self._socket(row, server[1], told.get(server, nobody), shared)
                for row, server, shared in self.rows
            ),
            missing,
        )

    def _socket(
        self, row: Row, server: str, told: Iterator[Callable[[], Any]], shared: bytes
    ) -> RemoteSocket:
        if row.id in self.own:
            row.handshake = self.own[row.id]
            return RemoteSocket(row, self.namespace, server, partial(_read, self.facts[row.id]))
        return RemoteSocket(row, self.namespace, server, next(told, _nothing), shared)


def _nothing() -> None:
    """The data of a socket whose app server has not answered."""


def _read(facts: bytes) -> Any:
    return orjson.loads(facts or b"{}")
