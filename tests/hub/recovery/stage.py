"""A hub with recovery, and clients that come back."""

from __future__ import annotations

import json
from typing import Any

from moorage.hub.hub import AppServer, Client, Connection
from moorage.hub.ports import Recovered
from moorage.wire.commands import Selection
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import TRANSPORT_LOST, Reason
from tests.hub.fakes import RecordingOpening, RecordingPeer, World, heard

ROOT = Selection(group=namespace_group("/"))


def room(name: str, namespace: str = "/") -> Selection:
    """The members of a room."""
    return Selection(group=room_group(namespace, name))


class RecordingReturns:
    """`ports.Returns` that records the sockets that come back."""

    def __init__(self) -> None:
        self.sockets: list[tuple[str, Recovered]] = []
        self.away: list[tuple[str, str]] = []
        """Connection, reason's name."""
        self.backs: list[tuple[str, str, str, str]] = []
        """Connection, namespace, socket, former connection."""
        self.tells = True

    def recover(self, connection: Client, socket: Recovered) -> None:
        self.sockets.append((connection.id, socket))

    def parked(self, connection: Client, reason: Reason) -> bool:
        if self.tells:
            self.away.append((connection.id, reason.name))
        return self.tells

    def back(self, connection: Client, namespace: str, sid: str, former: Client) -> None:
        self.backs.append((connection.id, namespace, sid, former.id))


class Stage:
    """A hub with recovery, and an app server."""

    def __init__(self, world: World | None = None, seconds: float = 120.0, *, quiet: bool = False) -> None:
        self.world = world or World()
        self.server, self.link = self.world.server(peer=RecordingPeer())
        self.returns = RecordingReturns()
        self.seconds = seconds
        self.quiet = quiet
        self.recoverable(self.server)

    def recoverable(self, server: AppServer) -> None:
        node, hub = self.world.node, self.world.hub()
        settings = node.hub_settings(hub.name)
        node.claims.turn_on(
            hub,
            server,
            self.returns,
            self.seconds,
            quiet=self.quiet,
            settings=settings,
            news=node.members,
        )

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.world.now += seconds
        self.world.node.tick(self.world.now)

    def client(self, *namespaces: str, **handshake: Any) -> Returning:
        """A client with sockets."""
        client = Returning(self, self.world.open(RecordingOpening(), **handshake), handshake)
        for namespace in namespaces or ("/",):
            self.world.enter(client.connection, namespace)
        client.read()
        return client


class Returning:
    """A client that keeps its `pid` and its offset, like the stock client."""

    def __init__(self, stage: Stage, connection: Connection, handshake: dict[str, Any]) -> None:
        self.stage = stage
        self.handshake = handshake
        self.connection = connection
        self.pid: dict[str, str] = {}
        self.sid: dict[str, str] = {}
        self.offset: dict[str, str] = {}
        self.events: list[list[Any]] = []
        """Without their offsets."""
        self.packets: list[bytes] = []
        self.asked = b""
        """The last CONNECT packet."""
        self._read = 0

    def read(self) -> None:
        """Take what has arrived."""
        self.stage.world.settle()
        packets = heard(self.connection)[self._read :]
        self._read += len(packets)
        for packet in packets:
            self.packets.append(packet)
            kind, rest = packet[1:2], packet[2:].decode()
            if packet[:1] != b"4" or kind not in b"025":
                continue
            if kind == b"5":
                rest = rest.partition("-")[2]
            namespace = "/"
            if rest.startswith("/"):
                namespace, _, rest = rest.partition(",")
            number = rest[: len(rest) - len(rest.lstrip("0123456789"))]
            data = json.loads(rest[len(number) :])
            if kind == b"0":
                self.sid[namespace], self.pid[namespace] = data["sid"], data["pid"]
                continue
            if not number:
                self.offset[namespace] = data.pop()
            self.events.append([namespace, *data])

    def lose(self, reason: Reason = TRANSPORT_LOST, *, save: bytes | None = b"{}", read: bool = True) -> None:
        """The connection ends. The app server saves the sockets."""
        if read:
            self.read()
        world = self.stage.world
        world.node.disconnect(self.connection, reason, who="client")
        if save is not None:
            for namespace in self.sid:
                self.save(save, namespace)

    def save(self, data: bytes, namespace: str = "/") -> None:
        stage = self.stage
        stage.world.node.claims.save(stage.world.hub(), stage.server, namespace, self.sid[namespace], data)

    def come_back(
        self, *namespaces: str, offset: object = None, answer: bool = True, **handshake: Any
    ) -> None:
        """A new connection, which asks for the former sockets. `answer`: the app server recovers them."""
        world = self.stage.world
        handshake = self.handshake | handshake
        self.connection, self._read = world.open(RecordingOpening(), **handshake), 0
        self.events.clear()
        self.packets.clear()
        for namespace in namespaces or ("/",):
            prefix = "" if namespace == "/" else f"{namespace},"
            data = {"pid": self.pid[namespace], "offset": offset or self.offset.get(namespace)}
            self.asked = f"40{prefix}{json.dumps(data)}".encode()
            world.node.receive(self.connection, self.asked)
            if answer:
                self.answer(namespace)

    def answer(self, namespace: str = "/", sid: str | None = None) -> None:
        """The app server answers the CONNECT with the former id."""
        prefix = "" if namespace == "/" else f"{namespace},"
        sid = sid or self.sid[namespace]
        self.stage.world.send(self.connection, f'40{prefix}{{"sid":"{sid}","pid":"native"}}'.encode())
        self.read()


def refused(stage: Stage) -> dict[str, int]:
    """Causes of refusals so far."""
    return dict(stage.world.node.claims.counts.refused)
