"""Contract of `hub.ports.AppLink` and `AppPeer`, for both dialects and the test double."""

from __future__ import annotations

from typing import Protocol

import pytest

from moorage.hub.hub import AppServer, Client, Connection
from moorage.hub.ports import AppPeer
from moorage.wire.handshake import OpenInfo
from moorage.wire.moorage import v1
from moorage.wire.reasons import APP_REFUSED, CLIENT_CLOSED
from tests.edge.azure import rig as azure_rig
from tests.edge.moorage import rig as moorage_rig
from tests.hub.fakes import RecordingLink, RecordingOpening, RecordingPeer, World


class Subject(Protocol):
    """An app server seen from both ends."""

    world: World

    @property
    def server(self) -> AppServer:
        """The hub's end."""

    def asked(self) -> list[str]:
        """The clients that requested a session since the last call."""

    def accept(self, connection: Connection) -> None:
        """Accept a client."""

    def refuse(self, connection: Connection) -> None:
        """Refuse a client."""

    def heard(self) -> list[tuple[str, bytes | None]]:
        """The events of clients since the last call: (id, packets), None for the end."""

    def cut(self) -> None:
        """Break the link."""

    def back(self) -> None:
        """Restore the link within the grace time."""

    def after(self, seconds: float) -> None:
        """Advance the time."""


class Double:
    """The test double of the hub's tests. It has no link that could break."""

    def __init__(self) -> None:
        self.world = World()
        self.server, self.link = self.world.server(peer=RecordingPeer())
        self.link.on_open = lambda connection: None
        self._seen = 0

    def asked(self) -> list[str]:
        opened, self.link.opened = self.link.opened, []
        return [connection.id for connection, _ in opened]

    def accept(self, connection: Connection) -> None:
        self.world.node.accept(connection, OpenInfo())

    def refuse(self, connection: Connection) -> None:
        self.world.node.refuse(connection, APP_REFUSED, "no")

    def heard(self) -> list[tuple[str, bytes | None]]:
        said: list[tuple[str, bytes | None]] = [*self.link.forwarded]
        ended: list[tuple[str, bytes | None]] = [(client, None) for client, _ in self.link.ended]
        # It records packets and ends separately; `RecordingLink.forward` checks their order.
        everything = said + ended
        fresh, self._seen = everything[self._seen :], len(everything)
        return fresh

    def cut(self) -> None:
        pass

    def back(self) -> None:
        pass

    def after(self, seconds: float) -> None:
        self.world.now += seconds


class Azure:
    """`AzureServer`."""

    def __init__(self) -> None:
        self.rig = azure_rig.Rig()
        self.world = self.rig.world
        self.server = self.rig.server.app
        self.wire = self.rig.open()
        self._opens: dict[str, azure_rig.Sent] = {}
        self._heard: list[tuple[str, bytes | None]] = []

    def _read(self) -> list[str]:
        fresh = []
        # Each answer may release the next event.
        while frames := self.rig.sent(self.wire):
            for frame in frames:
                if frame.name == "connect":
                    self._opens[frame.connection] = frame
                    fresh.append(frame.connection)
                elif frame.name == "message":
                    self._heard += [(frame.connection, packet) for packet in frame.content.split(b"\x1e")]
                    self.rig.answer(self.wire, frame)
                elif frame.name == "disconnected":
                    self._heard.append((frame.connection, None))
                    self.rig.answer(self.wire, frame)
        return fresh

    def asked(self) -> list[str]:
        return self._read()

    def accept(self, connection: Connection) -> None:
        self.rig.answer(self.wire, self._opens[connection.id], content=azure_rig.TERMS)

    def refuse(self, connection: Connection) -> None:
        self.rig.answer(self.wire, self._opens[connection.id], 400, b"no")

    def heard(self) -> list[tuple[str, bytes | None]]:
        self._read()
        heard, self._heard = self._heard, []
        return heard

    def cut(self) -> None:
        self._read()
        self.rig.lose(self.wire)

    def back(self) -> None:
        self.wire = self.rig.open("t2")

    def after(self, seconds: float) -> None:
        self.rig.after(seconds)


class Moorage:
    """`MoorageServer`."""

    def __init__(self) -> None:
        self.rig = moorage_rig.Rig()
        self.world = self.rig.world
        self.app = self.rig.app()
        self.server = self.app.server.app
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._heard: list[tuple[str, bytes | None]] = []

    def _read(self) -> list[str]:
        fresh = []
        for frame in self.app.heard(v1.Open, v1.Packet, v1.Closed):
            if isinstance(frame, v1.Open):
                self._numbers[frame.id], self._ids[frame.client] = frame.client, frame.id
                fresh.append(frame.id)
            elif isinstance(frame, v1.Packet):
                self._heard += [(self._ids[frame.client], one) for one in frame.payload.split(b"\x1e")]
            else:
                self._heard.append((self._ids[frame.client], None))
        return fresh

    def asked(self) -> list[str]:
        return self._read()

    def accept(self, connection: Connection) -> None:
        self.app.say(v1.Opened(self._numbers[connection.id], *moorage_rig.TERMS))

    def refuse(self, connection: Connection) -> None:
        self.app.say(v1.Refused(self._numbers[connection.id], 400, "no"))

    def heard(self) -> list[tuple[str, bytes | None]]:
        self._read()
        heard, self._heard = self._heard, []
        return heard

    def cut(self) -> None:
        self.app.cut()

    def back(self) -> None:
        self.app.back()

    def after(self, seconds: float) -> None:
        self.rig.after(seconds)


@pytest.fixture(params=[Double, Azure, Moorage])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each kind."""
    made: Subject = request.param()
    return made


def ask(subject: Subject) -> tuple[Connection, RecordingOpening]:
    """A client asks for a session."""
    opening = RecordingOpening()
    connection = subject.world.open(opening)
    assert subject.asked() == [connection.id]
    return connection, opening


def client(subject: Subject) -> Connection:
    """A client that was accepted."""
    connection, _ = ask(subject)
    subject.accept(connection)
    assert subject.heard() == []
    return connection


def say(subject: Subject, connection: Connection, *packets: bytes) -> None:
    """A client's packets."""
    for packet in packets:
        subject.world.node.receive(connection, packet)


def test_each_client_is_accepted_or_refused_once(subject: Subject) -> None:
    taken, first = ask(subject)
    sent_away, second = ask(subject)
    subject.accept(taken)
    subject.refuse(sent_away)
    assert [connection for connection, _ in first.accepts] == [taken]
    assert [reason.name for reason, _ in second.refusals] == [APP_REFUSED.name]
    assert (first.refusals, second.accepts) == ([], [])
    assert subject.server.clients == {taken}


def test_packets_come_in_order_and_the_end_after_them(subject: Subject) -> None:
    connection = client(subject)
    say(subject, connection, b"40", b"42[1]", b"42[2]", b"1")
    assert subject.heard() == [(connection.id, p) for p in (b"40", b"42[1]", b"42[2]", None)]
    subject.after(60.0)
    assert subject.heard() == [], "one end each"


def test_clients_are_independent(subject: Subject) -> None:
    one, two = client(subject), client(subject)
    for number in range(5):
        say(subject, one, b"42[%d]" % number)
        say(subject, two, b"42[%d]" % number)
    heard = subject.heard()
    for connection in (one, two):
        assert [p for sid, p in heard if sid == connection.id] == [b"42[%d]" % n for n in range(5)]


def test_a_short_interruption_does_not_affect_a_client(subject: Subject) -> None:
    connection = client(subject)
    say(subject, connection, b"42[1]")
    subject.heard()
    subject.cut()
    say(subject, connection, b"42[2]", b"42[3]")
    subject.back()
    say(subject, connection, b"42[4]")
    heard = subject.heard()
    subject.after(3.0)
    heard += subject.heard()
    assert heard == [(connection.id, p) for p in (b"42[2]", b"42[3]", b"42[4]")]
    assert subject.server.up


def test_an_end_during_an_interruption_is_reported_after_it(subject: Subject) -> None:
    connection = client(subject)
    subject.cut()
    say(subject, connection, b"42[last]", b"1")
    subject.back()
    heard = subject.heard()
    subject.after(10.0)
    assert heard + subject.heard() == [(connection.id, b"42[last]"), (connection.id, None)]


def test_a_client_that_disconnects_before_the_answer(subject: Subject) -> None:
    connection, opening = ask(subject)
    subject.world.node.abandon(connection)
    subject.accept(connection)
    assert subject.heard() == [(connection.id, None)], "it took the client, so it hears of the end"
    assert not (opening.accepts or opening.refusals)
    assert subject.world.node.connections == 0


def test_drained_is_reported_once_and_not_too_early(subject: Subject) -> None:
    connection = client(subject)
    done: list[int] = []
    say(subject, connection, b"42[1]")
    subject.server.link.drained(connection, lambda: done.append(1))
    subject.heard()
    assert done == [1]
    subject.cut()
    say(subject, connection, b"42[2]")
    subject.server.link.drained(connection, lambda: done.append(2))
    if not isinstance(subject, Double):
        assert done == [1]
    subject.back()
    subject.heard()
    subject.after(3.0)
    subject.heard()
    assert done == [1, 2]


def test_calls_after_the_end_do_not_raise(subject: Subject) -> None:
    connection = client(subject)
    server, link = subject.server, subject.server.link
    subject.cut()
    subject.after(60.0)
    if isinstance(subject, Double):
        subject.world.node.drop_server(subject.world.hub(), server)
    assert [reason for _, reason, *_ in subject.world.logged] == ["app-lost"]
    if not isinstance(link, RecordingLink):
        link.closed(connection, CLIENT_CLOSED)
    link.drained(connection, lambda: None)
    assert subject.world.node.hubs == {}


# -- AppPeer ----------------------------------------------------------------------------------------------

PEERS = [Double, Moorage]


def peer_of(subject: Subject) -> AppPeer[Client]:
    """The hub's end."""
    return subject.server.peer


def news(subject: Subject) -> list[tuple[object, ...]]:
    """The notifications so far, as kind and content."""
    peer = subject.server.peer
    if isinstance(peer, RecordingPeer):
        return [
            *(("moved", namespace, rooms, joined) for _, namespace, rooms, joined in peer.moves),
            *(("left", namespace) for _, namespace in peer.lefts),
            *(("query", *row) for row in peer.queries),
            *(("told", row[0] or 0, *row[1:]) for row in peer.tellings),
        ]
    assert isinstance(subject, Moorage)
    found: list[tuple[object, ...]] = []
    for frame in subject.app.heard():
        match frame:
            case v1.Moved():
                found.append(("moved", frame.namespace, frame.rooms, frame.joined))
            case v1.Left():
                found.append(("left", frame.namespace))
            case v1.Query():
                found.append(("query", frame.ref, frame.namespace, frame.sockets))
            case v1.Told():
                found.append(("told", frame.ref, frame.sender, frame.namespace, frame.payload))
    return found


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("kind", PEERS)
def test_notifications_keep_their_order_over_a_cut(kind: type[Double | Moorage], broken: bool) -> None:
    subject = kind()
    connection = client(subject)
    peer = peer_of(subject)
    if broken:
        subject.cut()
    peer.moved(connection, "/", ("a", "b"), joined=True)
    peer.moved(connection, "/", ("a",), joined=False)
    peer.left(connection, "/ns")
    peer.query(7, "/", ("s1", "s2"))
    peer.told(None, "other", "/", b"42[1]")
    peer.told(8, "other", "/ns", b"42/ns,[1]")
    if broken:
        subject.back()
    assert news(subject) == [
        ("moved", "/", ("a", "b"), True),
        ("moved", "/", ("a",), False),
        ("left", "/ns"),
        ("query", 7, "/", ("s1", "s2")),
        ("told", 0, "other", "/", b"42[1]"),
        ("told", 8, "other", "/ns", b"42/ns,[1]"),
    ]


@pytest.mark.parametrize("kind", PEERS)
def test_notifications_after_the_end_do_not_raise(kind: type[Double | Moorage]) -> None:
    subject = kind()
    connection = client(subject)
    peer = peer_of(subject)
    subject.cut()
    subject.after(60.0)
    peer.moved(connection, "/", ("a",), joined=True)
    peer.left(connection, "/")
    peer.query(1, "/", ("s1",))
    peer.told(2, "other", "/", b"42[1]")
