"""A model of recovery, apart from its implementation: which events each socket has to get, and clients that
write down what they got. Every event has a number; the numbers grow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from moorage.engine.upgrade import State
from moorage.hub.hub import AppServer, Connection
from tests.hub.fakes import RecordingOpening, World, heard

LASTS = 120.0
"""Seconds that a client may be away."""


@dataclass(eq=False)
class Socket:
    """A socket, in the app's eyes."""

    sid: str
    namespace: str
    user: str | None
    connection: str
    """Id of its latest connection."""
    server: AppServer
    rooms: set[str] = field(default_factory=set)
    ended: bool = False
    due: list[int] = field(default_factory=list)
    """Events that it has to get once, in order."""
    acked: set[int] = field(default_factory=set)
    """Events with an ack id that it has to get at least once."""
    volatile: set[int] = field(default_factory=set)
    """Events that it may get."""
    got: list[int] = field(default_factory=list)
    saved: bool = False

    def check(self, *, complete: bool) -> None:
        """`complete`: it has read everything, so nothing may lack."""
        plain = [number for number in self.got if number not in self.acked]
        strange = set(self.got) - self.acked - set(self.due) - self.volatile
        assert not strange, f"{self.sid} is not entitled to {strange}"
        assert plain == sorted(set(plain)), f"{self.sid} has {plain}: twice or in another order"
        if complete:
            lost = (set(self.due) | self.acked) - set(self.got)
            assert not lost, f"{self.sid} has lost {sorted(lost)} of {self.due}, acks {self.acked}"


@dataclass(eq=False)
class Session:
    """What a stock client keeps of one namespace."""

    pid: str
    socket: Socket
    offset: str | None = None
    lost_at: float = 0.0


class Phone:
    """A client like the stock one: it takes the last argument of an event for an offset if it is a string,
    and events that come before its CONNECT is answered wait until then."""

    def __init__(self, world: World, user: str | None) -> None:
        self.world = world
        self.user = user
        self.connection: Connection | None = None
        self.sessions: dict[str, Session] = {}
        self.asked: dict[str, bytes] = {}
        """CONNECT packets that wait for their answers, by namespace."""
        self.early: dict[str, list[list[Any]]] = {}
        self.connected: set[str] = set()
        self.over: set[str] = set()
        """Namespaces whose socket has ended, and does not listen any more."""
        self._read = 0

    def open(self) -> None:
        self.connection, self._read = self.world.open(RecordingOpening(), user_id=self.user), 0
        self.asked.clear()
        self.early.clear()
        self.connected.clear()
        self.over.clear()

    @property
    def is_open(self) -> bool:
        return self.connection is not None and self.connection.session.state != State.CLOSED

    def ask(self, namespace: str, pid: str | None = None, offset: object = None) -> None:
        """CONNECT to a namespace, with the former `pid` unless another is given."""
        assert self.connection is not None
        self.over.discard(namespace)
        session = self.sessions.get(namespace)
        data: dict[str, object] = {}
        if session is not None and pid is None:
            pid, offset = session.pid, session.offset
        if pid is not None:
            data = {"pid": pid} if offset is None else {"pid": pid, "offset": offset}
        self.asked[namespace] = packet = f"40{prefix(namespace)}{json.dumps(data)}".encode()
        self.world.node.receive(self.connection, packet)

    def read(self, most: int | None = None) -> None:
        """Take what has arrived, or only a part of it."""
        if self.connection is None or self.connection.outbox.sink is None:
            return
        self.world.settle()
        packets = heard(self.connection)[self._read :]
        packets = packets if most is None else packets[:most]
        self._read += len(packets)
        for packet in packets:
            if packet == b"2" and self.is_open:
                self.world.node.receive(self.connection, b"3")
            elif packet[:1] == b"4":
                self._packet(packet[1:2], packet[2:].decode())

    def _packet(self, kind: bytes, rest: str) -> None:
        if kind == b"5":
            rest = rest.partition("-")[2]
        namespace = "/"
        if rest.startswith("/"):
            namespace, _, rest = rest.partition(",")
        ack = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if kind == b"0":
            self._connected(namespace, **json.loads(rest))
        elif kind in (b"2", b"5"):
            data = json.loads(rest[len(ack) :])
            if namespace not in self.connected | self.over:
                self.early.setdefault(namespace, []).append([*data, *([None] if ack else [])])
            else:
                self._event(namespace, data, ack)
        elif kind in (b"1", b"4"):
            self.asked.pop(namespace, None)
            self.ended(namespace)

    def ended(self, namespace: str) -> None:
        """The socket of a namespace has ended."""
        self.connected.discard(namespace)
        self.over.add(namespace)

    def _connected(self, namespace: str, sid: str, pid: str) -> None:
        former = self.sessions.get(namespace)
        if former is None or former.pid != pid:
            self.sessions[namespace] = Session(pid, self.begun(namespace, sid))
        else:
            assert former.socket.sid == sid
        del self.asked[namespace]
        self.connected.add(namespace)
        for data in self.early.pop(namespace, []):
            self._event(namespace, data, "")

    begun: Any
    """Set by the machine: makes the model's socket of an answer."""

    def _event(self, namespace: str, data: list[Any], ack: str) -> None:
        if namespace not in self.connected:
            return
        session = self.sessions[namespace]
        session.socket.got.append(data[1])
        if not ack and isinstance(data[-1], str):
            session.offset = data[-1]


def prefix(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"
