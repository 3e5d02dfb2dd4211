"""App servers, their links and clients that come and go in any order, over cuts at any point.

One `Closed` for each client that was opened, all packets once and in order both ways, and no count
that leaks.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSMsgType

from moorage.edge.settings import LinkSettings
from moorage.engine.upgrade import State
from moorage.hub.hub import Connection
from moorage.wire.moorage import v1
from moorage.wire.reasons import TRANSPORT_LOST
from tests.edge.moorage.rig import TERMS, App, Rig
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink
from tests.support.examples import times

GRACE = 5.0


class Client:
    """One client: what it and its app server said, and what each heard."""

    def __init__(self, connection: Connection, opening: RecordingOpening) -> None:
        self.connection = connection
        self.opening = opening
        self.sink: RecordingSink | None = None
        self.said = self.told = 0
        self.app_heard: list[int] = []
        self.opened = self.refused = False
        self.closed = 0

    @property
    def heard(self) -> list[int]:
        """Of the app server."""
        packets = [] if self.sink is None else self.sink.packets
        return [int(packet[3:-1]) for packet in packets if packet.startswith(b"42")]


class Session:
    """An app server's side of one session."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.up = True
        self.clients: dict[int, Client] = {}
        self.asked: list[int] = []

    def read(self, by_id: dict[str, Client]) -> None:
        """Take in all that has come."""
        for frame in self.app.heard():
            if isinstance(frame, v1.Open):
                self.clients[frame.client] = by_id[frame.id]
                self.asked.append(frame.client)
            elif isinstance(frame, v1.Packet):
                client = self.clients[frame.client]
                assert not client.closed, "a packet after the end"
                client.app_heard.append(int(frame.payload[3:-1]))
            elif isinstance(frame, v1.Closed):
                self.clients[frame.client].closed += 1
            else:
                raise AssertionError(frame)


class Life:
    """Everybody there is. Each action takes a number that says who does it."""

    def __init__(self) -> None:
        self.rig = Rig(links=LinkSettings(grace=GRACE, connect_timeout=1_000.0))
        self.sessions: list[Session] = []
        self.clients: list[Client] = []
        self.numbers = 0
        # A short play should not be about nobody.
        for _ in range(2):
            self.server_comes(0)
        for _ in range(4):
            self.client_comes(0)
        self.catch_up()
        for number in range(4):
            self.takes(number)

    def session(self, number: int, *, up: bool) -> Session | None:
        """One of them."""
        found = [session for session in self.sessions if session.up == up]
        return found[number % len(found)] if found else None

    def client(self, number: int) -> tuple[Session, int, Client] | None:
        """One that its app server has taken, as far as that knows."""
        found = [
            (session, n, client)
            for session in self.sessions
            for n, client in session.clients.items()
            if client.opened and not client.closed
        ]
        return found[number % len(found)] if found else None

    def catch_up(self, *sessions: Session) -> None:
        """Those that are up read all there is, and say so."""
        by_id = {client.connection.id: client for client in self.clients}
        for session in sessions or self.sessions:
            if session.up:
                session.read(by_id)
                session.app.ack()

    # -- app servers ------------------------------------------------------------------------------

    def server_comes(self, _number: int) -> None:
        """A new process."""
        if len(self.sessions) == 3:
            return
        self.numbers += 1
        self.sessions.append(Session(self.rig.app(f"s{self.numbers}")))

    def cut(self, number: int) -> None:
        """What it has not read is lost with the link."""
        session = self.session(number, up=True)
        if session is not None:
            session.app.cut()
            session.up = False

    def back(self, number: int) -> None:
        """In time."""
        session = self.session(number, up=False)
        if session is not None:
            session.app.back()
            assert session.app.hello.resumed
            session.up = True

    def replace(self, number: int) -> None:
        """A second link before the first is known to be gone."""
        session = self.session(number, up=True)
        if session is not None:
            session.app.line.writes.clear()
            session.app.back()
            assert session.app.hello.resumed

    def farewell(self, number: int) -> None:
        """For good."""
        session = self.session(number, up=True)
        if session is not None:
            session.app.line.feed(b"\x03\xe8", WSMsgType.CLOSE)
            self.sessions.remove(session)

    def stays_away(self, number: int) -> None:
        """All that are down stay so for too long."""
        session = self.session(number, up=False)
        if session is not None:
            for _ in range(int(GRACE) + 1):
                self.rig.after(1.0)
                self.catch_up()
            self.sessions = [session for session in self.sessions if session.up]

    def reads(self, number: int) -> None:
        """And acknowledges."""
        session = self.session(number, up=True)
        if session is not None:
            self.catch_up(session)

    def takes(self, number: int) -> None:
        """The next client, also while its link is down."""
        for session, client_number, client in self._next(number):
            client.opened = True
            session.app.queue(v1.Opened(client_number, *TERMS), now=session.up)

    def refuses(self, number: int) -> None:
        """It."""
        for session, client_number, client in self._next(number):
            client.refused = True
            session.app.queue(v1.Refused(client_number, 403, "no"), now=session.up)

    def _next(self, number: int) -> list[tuple[Session, int, Client]]:
        waiting = [session for session in self.sessions if session.asked]
        if not waiting:
            return []
        session = waiting[number % len(waiting)]
        client_number = session.asked.pop(0)
        return [(session, client_number, session.clients[client_number])]

    def tells(self, number: int) -> None:
        """Something to some of its clients."""
        for n in range(number, number + 3):
            found = self.client(n)
            if found is not None:
                session, client_number, client = found
                session.app.queue(v1.Packet(client_number, b"42[%d]" % client.told), now=session.up)
                client.told += 1

    # -- clients ----------------------------------------------------------------------------------

    def client_comes(self, _number: int) -> None:
        """To whichever app server the hub chooses."""
        if self.session(0, up=True) is None:
            return
        opening = RecordingOpening()
        self.clients.append(Client(self.rig.world.open(opening), opening))

    def clients_say(self, number: int) -> None:
        """Those that are open."""
        for client in [self.clients[n % len(self.clients)] for n in range(number, number + 3)]:
            if State.OPENING < client.connection.session.state < State.CLOSED:
                self.rig.world.node.receive(client.connection, b"42[%d]" % client.said)
                client.said += 1

    def client_goes(self, number: int) -> None:
        """Open or not, the newest first."""
        client = self.clients[-1 - number % len(self.clients)]
        self.rig.world.node.abandon(client.connection)
        self.rig.world.node.disconnect(client.connection, TRANSPORT_LOST, who="client")

    def turn(self, _number: int) -> None:
        """The end of a turn of the loop."""
        self.rig.settle()

    # -- what always holds ------------------------------------------------------------------------

    def each_hears_the_beginning_of_what_was_said(self) -> None:
        for client in self.clients:
            if client.sink is None and client.opening.accepts:
                sink = client.connection.outbox.sink
                client.sink = sink if isinstance(sink, RecordingSink) else None
            assert client.app_heard == list(range(len(client.app_heard)))
            assert len(client.app_heard) <= client.said
            assert client.heard == list(range(len(client.heard)))
            assert client.closed <= 1
            assert len(client.opening.accepts) + len(client.opening.refusals) <= 1

    def the_counts_are_right(self) -> None:
        alive = [c for c in self.clients if c.connection.session.state != State.CLOSED]
        assert self.rig.world.node.connections == len(alive)
        hub = self.rig.world.node.hub(HUB)
        assert (hub is not None) == bool(self.sessions)
        if hub is not None:
            assert [server.up for server in hub.servers.all()] == [session.up for session in self.sessions]
            assert sum(len(server.clients) for server in hub.servers.all()) == len(alive)
        assert self.rig.sessions.links().get(HUB, 0) == sum(session.up for session in self.sessions)

    def end(self) -> None:
        """Left in peace, everybody has heard everything."""
        for session in self.sessions:
            if not session.up:
                session.app.back()
                session.up = True
        self.catch_up()
        self.rig.after(1.0)
        self.catch_up()
        self.each_hears_the_beginning_of_what_was_said()
        for session in self.sessions:
            assert session.app.out.in_flight == session.app.server.out.waiting == 0
            for client in session.clients.values():
                ended = client.connection.session.state == State.CLOSED
                if client.opened:
                    assert client.closed == ended
                    assert len(client.app_heard) == client.said
                    assert ended or len(client.heard) == client.told
                elif client.refused:
                    assert not client.closed, "it was refused"
            assert set(session.app.server.numbered.own) == {
                n for n, c in session.clients.items() if n in session.asked or (c.opened and not c.closed)
            }


OFTEN = [Life.reads, Life.takes, Life.tells, Life.clients_say, Life.client_comes, Life.turn]
SOMETIMES = [Life.cut, Life.back, Life.client_goes, Life.refuses]
SELDOM = [Life.server_comes, Life.replace, Life.farewell, Life.stays_away]
ACTIONS = st.tuples(st.sampled_from(OFTEN * 4 + SOMETIMES * 2 + SELDOM), st.integers(0, 20))


@settings(max_examples=times(1.5))
@given(st.lists(ACTIONS, min_size=20, max_size=120))
def test_app_servers_and_clients_come_and_go(actions: list[tuple[Callable[[Life, int], None], int]]) -> None:
    life = Life()
    for action, number in actions:
        action(life, number)
        life.each_hears_the_beginning_of_what_was_said()
        life.the_counts_are_right()
    life.end()
