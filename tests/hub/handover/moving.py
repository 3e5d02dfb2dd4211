"""App servers that give and take clients, without a link. What each is told is a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moorage.hub.handover.move import Move
from moorage.hub.handover.sockets import Left, Made
from moorage.hub.hub import AppServer, Capabilities, Client, Connection
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import Reason
from tests.hub.fakes import MOST, RecordingPeer, World


class Mobile:
    """One app server, its link and its `AppMover`: all that it is told, in order, as (name, channel, ...)."""

    def __init__(self, world: World, name: str, *, mobile: bool = True) -> None:
        self.world = world
        self.told: list[tuple[Any, ...]] = []
        self.answers_at_once = True
        """True if it takes new clients at once."""
        self.app = AppServer(name, self, "test", MOST if mobile else Capabilities(), _Peer(self))
        self.app.mover = self if mobile else None
        self.app.up = True
        world.node.ensure_hub("app").servers.add(self.app)
        self.run()

    def run(self) -> None:
        """The end of the loop tick."""
        while self.world.callbacks:
            self.world.callbacks.pop(0)()
        self.world.settle()

    def take(self) -> list[tuple[Any, ...]]:
        """What it has been told since the last call."""
        self.run()
        told, self.told = self.told, []
        return told

    def lose(self, *, lost: bool = True) -> None:
        """It is gone."""
        self.world.node.drop_server(self.world.hub(), self.app, lost=lost)
        self.run()

    def note(self, name: str, client: Client, *more: object) -> None:
        """It is told something about a client."""
        if isinstance(client.channel, Move):
            getattr(client.channel, {"packet": "forward", "left": "expelled"}.get(name, name))(*more)
        else:
            self.told.append((name, client.channel, *more))

    # hub.ports.AppLink

    def open(self, connection: Client, handshake: Handshake) -> None:
        connection.channel = next(_numbers)
        connection.handshake = b'{"headers":{}}'
        if self.answers_at_once:
            self.world.node.accept(connection, OpenInfo(max_payload=10_000_000))

    def forward(self, connection: Client, packet: bytes) -> None:
        self.note("packet", connection, packet)

    def closed(self, connection: Client, reason: Reason) -> None:
        if isinstance(connection.channel, Move):
            connection.channel.closed(reason)
        else:
            self.told.append(("closed", connection.channel, reason.name))

    def drained(self, connection: Client, done: Any) -> None:
        done()

    def taken(self, connection: Client, done: Any) -> None:
        done()

    # hub.ports.AppMover

    def freeze(self, channel: object) -> None:
        self.told.append(("freeze", channel))

    def adopt(self, connection: Connection, sockets: tuple[Made, ...]) -> object:
        channel = next(_numbers)
        self.told.append(("adopt", channel, sockets))
        return channel

    def withdraw(self, channel: object) -> None:
        self.told.append(("withdraw", channel))

    def released(self, channel: object) -> None:
        self.told.append(("released", channel))

    def resume(self, channel: object) -> None:
        self.told.append(("resume", channel))


class _Peer(RecordingPeer):
    def __init__(self, server: Mobile) -> None:
        super().__init__()
        self._server = server

    def moved(self, connection: Client, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        if isinstance(connection.channel, Move):
            connection.channel.moved(namespace, rooms, joined=joined)
        else:
            self._server.told.append(("moved", connection.channel, namespace, rooms, joined))

    def left(self, connection: Client, namespace: str) -> None:
        self._server.note("left", connection, namespace)

    def upgraded(self, connection: Client) -> None:
        self._server.note("upgraded", connection)


_numbers = iter(range(1, 1_000_000))


class Moving:
    """Two app servers, and a client of the first one with a socket in `/`."""

    def __init__(self, *, second: bool = True, **given: Any) -> None:
        self.world = World(**given)
        self.one = Mobile(self.world, "one")
        self.client = self.world.client("/")
        self.sid = f"{self.client.id}/"
        self.first = self.client.channel
        """The client's channel at the first app server."""
        self.done: list[tuple[int, tuple[str, ...]]] = []
        """The answers to `hand_over`."""
        self.one.take()
        if second:
            self.two = Mobile(self.world, "two")

    def hand_over(self, server: Mobile | None = None) -> None:
        """An app server gives all its clients away."""
        self.world.node.handovers.begin(
            self.world.hub(),
            (server or self.one).app,
            lambda count, missing: self.done.append((count, missing)),
        )
        self.one.run()

    def leave(self, *lefts: Left, connection: Connection | None = None) -> None:
        """The last word about the client. Without `lefts`: its socket in `/`."""
        move = (connection or self.client).channel
        assert isinstance(move, Move)
        move.left(lefts or (Left("/", self.sid),))
        self.one.run()

    def freeze(self, *lefts: Left) -> int:
        """Hand over up to the offer; the client's channel at the second app server."""
        self.hand_over()
        self.leave(*lefts)
        (offer,) = [told for told in self.two.take() if told[0] == "adopt"]
        channel = offer[1]
        assert isinstance(channel, int)
        return channel

    def move(self, *lefts: Left) -> int:
        """Hand over; the client's channel at the second app server."""
        channel = self.freeze(*lefts)
        self.accept()
        return channel

    def accept(self) -> None:
        """The app server that was asked takes the client."""
        self.world.node.accept(self.client, OpenInfo())
        self.one.run()

    def refuse(self, reason: Reason) -> None:
        """It does not."""
        self.world.node.refuse(self.client, reason)
        self.one.run()

    def says(self, *packets: bytes) -> None:
        """The client sends packets."""
        for packet in packets:
            self.world.node.receive(self.client, packet)
        self.one.run()

    def after(self, seconds: float) -> None:
        """Time passes, in small steps."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.now += 0.25
            self.world.node.tick(self.world.now)
            self.one.run()


def names(told: Iterable[tuple[Any, ...]]) -> list[str]:
    """What an app server was told, without the details."""
    return [name for name, *_ in told]
