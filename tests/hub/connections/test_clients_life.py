"""Clients and app servers connect and disconnect in any order: one `closed` for every acceptance, one answer
for every asker, and no count that leaks."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moorage.engine.upgrade import Step
from moorage.hub.hub import AppServer, Connection
from moorage.wire.commands import EVERYONE
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import APP_REFUSED, TRANSPORT_LOST
from tests.hub.fakes import HUB, RecordingLink, RecordingOpening, RecordingSink, World
from tests.support.examples import times


class LifeMachine(RuleBasedStateMachine):
    """The fakes and the counts check the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.servers: list[tuple[AppServer, RecordingLink]] = []
        self.links: list[RecordingLink] = []
        self.openings: dict[Connection, RecordingOpening] = {}
        self.accepted: set[Connection] = set()
        self.ended: set[Connection] = set()

    who = st.integers(0, 1_000)

    def pick(self, who: int) -> Connection | None:
        everyone = list(self.openings)
        return everyone[who % len(everyone)] if everyone else None

    @rule()
    def server_comes(self) -> None:
        server, link = self.world.server(f"s{len(self.links)}")
        link.on_open = lambda connection: None
        self.servers.append((server, link))
        self.links.append(link)

    @rule(who=who)
    def server_goes(self, who: int) -> None:
        if self.servers:
            server, _ = self.servers.pop(who % len(self.servers))
            self.ended |= server.clients
            self.world.node.drop_server(self.world.hub(), server)

    @rule(framed=st.booleans())
    def client_comes(self, framed: bool) -> None:
        opening = RecordingOpening(framed=framed)
        if self.servers:
            self.openings[self.world.open(opening)] = opening

    @rule(who=who)
    def app_accepts(self, who: int) -> None:
        connection = self.pick(who)
        if connection is not None and connection not in self.accepted | self.ended:
            self.world.node.accept(connection, OpenInfo())
            self.accepted.add(connection)
            self.world.enter(connection, "/")

    @rule(who=who)
    def app_refuses(self, who: int) -> None:
        connection = self.pick(who)
        if connection is not None:
            self.world.node.refuse(connection, APP_REFUSED)
            if connection not in self.accepted:
                self.ended.add(connection)

    @rule(text=st.sampled_from(["1", "2]\x1e42[3", '"é"']), times=st.sampled_from([1, 30_000]))
    def app_emits(self, text: str, times: int) -> None:
        self.world.emit(EVERYONE, f"42[{text}{',1' * times}]".encode())

    @rule(who=who)
    def client_reads(self, who: int) -> None:
        connection = self.pick(who)
        if connection in self.accepted - self.ended:
            connection.outbox.unblock()

    @rule(who=who)
    def client_does_not_read(self, who: int) -> None:
        connection = self.pick(who)
        if connection in self.accepted - self.ended:
            connection.outbox.ready = False

    @rule(who=who)
    def client_upgrades(self, who: int) -> None:
        connection = self.pick(who)
        if connection in self.accepted - self.ended and not connection.outbox.framed:
            connection.session.step(Step.UPGRADE_ASKED)
            connection.session.step(Step.UPGRADE_DONE)
            connection.outbox.attach(RecordingSink(), ready=True)
            self.world.node.upgraded(connection)

    @rule()
    def the_tick_ends(self) -> None:
        self.world.settle()

    @rule(who=who, packet=st.sampled_from([b"1", b"41", b"42[1]", b"nonsense"]))
    def client_sends(self, who: int, packet: bytes) -> None:
        connection = self.pick(who)
        if connection in self.accepted:
            self.world.node.receive(connection, packet)
            if packet in (b"1", b"nonsense"):
                self.ended.add(connection)

    @rule(who=who)
    def client_is_gone(self, who: int) -> None:
        connection = self.pick(who)
        if connection is not None:
            self.world.node.abandon(connection)
            self.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
            self.ended.add(connection)

    @rule()
    def everybody_hears(self) -> None:
        self.world.emit(EVERYONE, b"42[1]")
        self.world.settle()

    @invariant()
    def every_acceptance_has_one_end(self) -> None:
        told = [connection_id for link in self.links for connection_id, _ in link.ended]
        assert sorted(told) == sorted(connection.id for connection in self.accepted & self.ended)

    @invariant()
    def every_asker_has_one_word(self) -> None:
        for connection, opening in self.openings.items():
            assert len(opening.accepts) == (connection in self.accepted)
            assert len(opening.accepts) + len(opening.refusals) <= 1

    @invariant()
    def the_counts_are_right(self) -> None:
        alive = set(self.openings) - self.ended
        assert self.world.node.connections == len(alive)
        assert sum(len(server.clients) for server, _ in self.servers) == len(alive)
        hub = self.world.node.hub(HUB)
        assert (hub is not None) == bool(self.servers)
        if hub is not None:
            assert set(hub.directory.connections.values()) == alive & self.accepted
            assert hub.websockets == sum(c.outbox.framed for c in alive & self.accepted)
        assert self.world.sockets == sum(bool(c.session.peer.namespaces) for c in alive & self.accepted)
        assert self.world.node.flusher.waiting == sum(c.outbox.size for c in alive & self.accepted)


TestLife = LifeMachine.TestCase
TestLife.settings = settings(max_examples=times(0.6), stateful_step_count=30)
