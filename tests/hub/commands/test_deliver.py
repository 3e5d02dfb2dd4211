"""Packets that the service must handle: CONNECT answers, ends of namespaces and sessions."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.hub.commands.deliver import PIECE
from moorage.hub.hub import Connection
from moorage.hub.turns import finished
from moorage.wire.commands import EVERYONE, Outcome, Selection, Send, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import (
    API_BAD_PAYLOAD,
    APP_CLOSED,
    APP_LET_GO,
    BAD_PACKET,
    BAD_SOCKETIO_PACKET,
    BAD_UTF8,
    Reason,
)
from moorage.wire.socketio import MAX_EMIT
from tests.hub.fakes import HUB, RecordingLink, RecordingPeer, World, heard, sink_of
from tests.support.examples import times

ROOT, NS = namespace_group("/"), namespace_group("/ns")
Stage = tuple[World, Connection, RecordingLink]


@pytest.fixture
def stage() -> Stage:
    """A node, a client in `/` and `/ns`, and their app server."""
    world = World()
    _, link = world.server()
    client = world.client("/", "/ns")
    link.forwarded.clear()
    return world, client, link


def test_the_connect_answer_makes_the_socket_a_member(stage: Stage) -> None:
    world, _, _ = stage
    client = world.client()
    world.node.receive(client, b"40/ns,")
    assert client.groups == set()
    world.send(client, b'40/ns,{"sid":"abc"}')
    assert client.groups == {NS, room_group("/ns", "abc")}
    assert world.sockets == 3
    # It is a member at once: the next emit reaches it.
    world.emit(Selection(group=room_group("/ns", "abc")), b'42/ns,["private"]')
    world.emit(Selection(group=NS), b'42/ns,["all"]')
    world.settle()
    assert heard(client) == [b'40/ns,{"sid":"abc"}', b'42/ns,["private"]', b'42/ns,["all"]']


@pytest.mark.parametrize("answer", [b"40/ns,", b"40/ns,{}", b'40/ns,{"sid":7}', b"40/ns,["])
def test_an_answer_without_socket_id_is_only_passed_on(stage: Stage, answer: bytes) -> None:
    world, _, _ = stage
    client = world.client()
    world.node.receive(client, b"40/ns,")
    world.send(client, answer)
    world.settle()
    assert client.groups == set()
    assert heard(client) == [answer]


def test_a_late_answer_makes_no_member(stage: Stage) -> None:
    world, _, link = stage
    client = world.client()
    world.node.receive(client, b"40")
    world.node.receive(client, b"41")
    world.send(client, b'40{"sid":"abc"}')
    world.settle()
    assert client.groups == set()
    assert world.sockets == 2
    # The app server gets both packets, in order, and ends its socket.
    assert link.packets(client) == [b"40", b"41"]


def test_a_second_answer_moves_the_private_room(stage: Stage) -> None:
    world, client, _ = stage
    world.send(client, b'40{"sid":"new"}')
    assert world.sockets == 2
    assert room_group("/", "new") in client.groups
    assert room_group("/", f"{client.id}/") not in client.groups


# -- `41` from the app side


def test_a_plain_disconnect(stage: Stage) -> None:
    world, client, link = stage
    world.join(client, "room", namespace="/ns")
    world.send(client, b"41/ns,")
    world.settle()
    assert heard(client) == [b"41/ns,"]
    assert client.groups == {ROOT, room_group("/", f"{client.id}/")}
    assert world.sockets == 1
    # The app server did it itself and needs no notification.
    assert link.forwarded == []
    assert link.ended == []


def test_disconnect_sockets_without_close(stage: Stage) -> None:
    world, client, link = stage
    world.emit(Selection(group=NS), b'41/ns,{"close":false}', control=True)
    world.settle()
    # Without data, which stock clients treat as a parse error. The app server gets it as the client's packet.
    assert heard(client) == [b"41/ns,"]
    assert link.forwarded == [(client.id, b"41/ns,")]
    assert link.ended == []
    assert NS not in client.groups


def test_disconnect_sockets_with_close(stage: Stage) -> None:
    world, client, link = stage
    sink = sink_of(client)
    world.emit(Selection(group=NS), b'41/ns,{"close":true}', control=True)
    assert [reason for reason, _ in sink.closed] == [APP_CLOSED]
    assert sink.packets == [b"41/ns,", b"41"], "all its sockets, as natively"
    assert link.forwarded == []
    assert link.ended == [(client.id, APP_CLOSED)]
    assert (world.sockets, len(world.hub().directory.rooms)) == (0, 0)


@pytest.mark.parametrize("close", [False, True])
def test_disconnect_sockets_of_an_app_server_that_is_notified(close: bool) -> None:
    """It gets `left` instead of the packet, which would look like the client's own."""
    world, peer = World(), RecordingPeer()
    _, link = world.server(peer=peer)
    client = world.client("/", "/ns")
    sink = sink_of(client)
    link.forwarded.clear()
    world.emit(Selection(group=NS), b'41/ns,{"close":%b}' % (b"true" if close else b"false"), control=True)
    world.settle()
    assert sink.packets == [b"41/ns,", b"41"][: 1 + close]
    assert peer.lefts == [(client.id, "/ns"), (client.id, "/")][: 1 + close]
    assert link.forwarded == []
    assert link.ended == ([(client.id, APP_CLOSED)] if close else [])
    # It is not notified of its own plain disconnect.
    if not close:
        world.send(client, b"41")
        assert peer.lefts == [(client.id, "/ns")]


@pytest.mark.parametrize("packet", [b"41/ns,", b'41/ns,{"close":false}', b'41/ns,{"close":true}'])
@pytest.mark.parametrize("connecting", [False, True])
def test_not_in_the_namespace(stage: Stage, packet: bytes, connecting: bool) -> None:
    world, client, link = stage
    world.node.receive(client, b"41/ns,")
    if connecting:
        # The client is reconnecting: the packet is for its former socket.
        world.node.receive(client, b"40/ns,")
    link.forwarded.clear()
    world.send(client, packet)
    world.settle()
    assert heard(client) == []
    assert link.forwarded == []
    assert link.ended == []
    assert world.sockets == 1
    if connecting:
        world.send(client, b'40/ns,{"sid":"again"}')
        assert NS in client.groups


def test_the_clients_own_disconnect_removes_it_from_all_groups_first(stage: Stage) -> None:
    world, client, link = stage
    sid = f"{client.id}/ns"
    world.join(client, "room", namespace="/ns")
    world.node.receive(client, b"41/ns,")
    assert client.groups == {ROOT, room_group("/", f"{client.id}/")}
    assert link.forwarded == [(client.id, b"41/ns,")]
    # The app server's clean-up of the private room affects neither this socket nor a new session.
    assert world.emit(Selection(group=room_group("/ns", sid)), b"41/ns,", control=True).reached == 0
    world.enter(client, "/ns", sid="second")
    assert world.emit(Selection(group=room_group("/ns", sid)), b"41/ns,", control=True).reached == 0
    assert world.sockets == 2


# -- `44`


def test_a_refused_namespace_leaves_nothing_behind(stage: Stage) -> None:
    world, _, _ = stage
    client = world.client()
    world.node.receive(client, b"40/ns,")
    # Middleware may join rooms before it refuses.
    world.join(client, "room", namespace="/ns")
    world.send(client, b'44/ns,{"message":"no"}')
    world.settle()
    assert heard(client) == [b'44/ns,{"message":"no"}']
    assert client.groups == set()
    assert world.sockets == 2
    # The namespace may be connected again.
    world.enter(client, "/ns")
    assert world.sockets == 3


def test_leaving_while_connecting_leaves_nothing_behind(stage: Stage) -> None:
    world, _, _ = stage
    client = world.client()
    world.node.receive(client, b"40/ns,")
    world.join(client, "room", namespace="/ns")
    world.node.receive(client, b"41/ns,")
    assert client.groups == set()
    assert world.sockets == 2


def test_a_refusal_of_a_connected_namespace_ends_it(stage: Stage) -> None:
    world, client, _ = stage
    world.send(client, b'44/ns,{"message":"no"}')
    assert world.sockets == 1
    assert NS not in client.groups


# -- the end of the session


def test_a_close_delivers_what_is_queued_first(stage: Stage) -> None:
    world, client, link = stage
    sink = sink_of(client)
    world.send(client, b'42["last"]')
    world.send(client, b"1")
    assert sink.packets == [b'42["last"]']
    assert [reason for reason, _ in sink.closed] == [APP_LET_GO]
    assert link.ended == [(client.id, APP_LET_GO)]


def test_packets_after_a_close_are_dropped(stage: Stage) -> None:
    world, client, link = stage
    sink = sink_of(client)
    world.node.receive(client, b"40/late,")
    world.send(client, b'42["a"]\x1e1\x1e42["b"]\x1e40/late,{"sid":"x"}\x1e1')
    world.settle()
    assert sink.packets == [b'42["a"]']
    assert len(sink.closed) == 1
    assert link.ended == [(client.id, APP_LET_GO)]
    assert client.groups == set()
    assert len(world.hub().directory.rooms) == 0
    assert world.sockets == 0


def test_a_mixed_payload_keeps_its_order(stage: Stage) -> None:
    world, client, _ = stage
    world.send(client, b'42["a"]\x1e41/ns,\x1e451-["b"]\x1ebYWI=\x1e41/ns,\x1e2')
    world.settle()
    # At the second `41/ns,` the namespace has been left already.
    assert heard(client) == [b'42["a"]', b"41/ns,", b'451-["b"]', b"bYWI=", b"2"]


def test_a_disconnect_of_a_namespace_reaches_all_members() -> None:
    world = World()
    world.server()
    clients = [world.client("/", framed=number % 2 == 0) for number in range(6)]
    assert world.emit(Selection(group=ROOT), b'41{"close":false}', control=True).reached == 6
    world.settle()
    assert all(heard(client) == [b"41"] for client in clients)
    assert len(world.hub().directory.rooms) == 0


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"41\x1eb!", BAD_PACKET),
        (b'42["a"]\x1eb!', BAD_PACKET),
        (b"b!", BAD_PACKET),
        (b"1\x1e40/\xff,", BAD_UTF8),
        (b'42["a"]\x1e44/' + b"n" * 600 + b",", BAD_SOCKETIO_PACKET),
        (b"41/ns,\x1e41/" + b"n" * 600 + b",", BAD_SOCKETIO_PACKET),
    ],
)
def test_a_payload_that_cannot_go_to_all_is_refused(stage: Stage, payload: bytes, reason: Reason) -> None:
    world, client, link = stage
    polling = world.client("/", framed=False)
    with pytest.raises(PeerError) as caught:
        world.emit(EVERYONE, payload, control=True)
    assert caught.value.reason is reason
    world.settle()
    assert heard(client) == heard(polling) == []
    assert link.ended == []
    assert world.sockets == 3


@pytest.mark.repair(7)
@pytest.mark.parametrize(
    "payload",
    [
        *(
            b'40/ns,{"sid":"stolen"}',
            b"41",
            b'41/ns,{"close":true}',
            b'44/ns,{"message":"x"}',
            b"1",
            b"2",
            b"6",
        ),
        *(b'42["a"]\x1e41/ns,', b'42["a"]\x1e1', b"", b"hello", b"4", b"0{}", b"3probe", b"5"),
        *(
            b"bAA==",
            b'42["a"]\x1ebAA==',
            b'451-["a"]',
            b'451-["a"]\x1e42["b"]',
            b'451-["a"]\x1ebAA==\x1ebAA==',
        ),
        *(b"45[]", b'42["a"]\x1e'),
    ],
)
def test_an_emit_may_carry_only_events_and_acks(stage: Stage, payload: bytes) -> None:
    world, client, link = stage
    with pytest.raises(PeerError) as caught:
        world.emit(EVERYONE, payload)
    assert caught.value.reason is API_BAD_PAYLOAD
    world.settle()
    assert heard(client) == []
    assert link.ended == []
    assert link.forwarded == []
    assert NS in client.groups


@pytest.mark.repair(7)
@pytest.mark.parametrize(
    "payload",
    [
        *(b'42["a"]', b'42/ns,7["a"]', b"437[]", b'451-["a"]\x1ebAA==', b'461-7["a"]\x1ebAA==', b'450-["a"]'),
        b'42["a"]\x1e452-["b"]\x1ebAA==\x1ebAAA=\x1e43/ns,7[]',
    ],
)
def test_events_and_acks_of_all_kinds_pass(stage: Stage, payload: bytes) -> None:
    world, client, _ = stage
    world.emit(Selection(group=NS), payload)
    world.settle()
    assert heard(client) == payload.split(b"\x1e")


class NamespaceMachine(RuleBasedStateMachine):
    """Compares one client in two namespaces with a naive model, for any packets of both sides."""

    names = st.sampled_from(["/", "/ns"])

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        _, self.link = self.world.server()
        self.client = self.world.client()
        self.sockets: dict[str, str | None] = {}
        """Namespace -> socket id; None while it is connecting."""
        self.rooms: set[tuple[str, str]] = set()
        self.number = 0

    def packet(self, kind: int, name: str, data: str = "") -> bytes:
        return f"4{kind}{'' if name == '/' else name + ','}{data}".encode()

    def leave(self, name: str) -> None:
        self.sockets.pop(name, None)
        self.rooms = {pair for pair in self.rooms if pair[0] != name}

    @rule(name=names)
    def client_connects(self, name: str) -> None:
        if name not in self.sockets:
            self.world.node.receive(self.client, self.packet(0, name))
            self.sockets[name] = None

    @rule(name=names)
    def client_leaves(self, name: str) -> None:
        self.world.node.receive(self.client, self.packet(1, name))
        self.leave(name)

    @rule(name=names)
    def app_accepts(self, name: str) -> None:
        self.number += 1
        self.world.send(self.client, self.packet(0, name, f'{{"sid":"s{self.number}"}}'))
        if name in self.sockets:
            self.sockets[name] = f"s{self.number}"

    @rule(name=names)
    def app_refuses(self, name: str) -> None:
        self.world.send(self.client, self.packet(4, name, '{"message":"no"}'))
        self.leave(name)

    @rule(name=names, data=st.sampled_from(["", '{"close":false}']))
    def app_disconnects(self, name: str, data: str) -> None:
        self.world.send(self.client, self.packet(1, name, data))
        if self.sockets.get(name):
            self.leave(name)

    @rule(name=names, room=st.sampled_from(["a", "b"]))
    def app_joins(self, name: str, room: str) -> None:
        self.world.join(self.client, room, namespace=name)
        if name in self.sockets:
            self.rooms.add((name, room))

    @precondition(lambda self: self.number > 5)
    @rule(end=st.sampled_from([b"1", b"47"]))
    def the_end_and_a_new_client(self, end: bytes) -> None:
        self.world.node.receive(self.client, end)
        self.client = self.world.client()
        self.sockets.clear()
        self.rooms.clear()

    @invariant()
    def membership_is_what_the_model_says(self) -> None:
        connected = {name: sid for name, sid in self.sockets.items() if sid}
        expected = {room_group(name, room) for name, room in self.rooms}
        expected |= {namespace_group(name) for name in connected}
        expected |= {room_group(name, sid) for name, sid in connected.items()}
        assert self.client.groups == expected
        assert len(self.world.hub().directory.rooms) == len(expected)
        assert self.world.sockets == len(connected)
        assert self.world.node.connections == 1


TestNamespaces = NamespaceMachine.TestCase
TestNamespaces.settings = settings(max_examples=times(0.6), stateful_step_count=25)


@pytest.mark.repair(4)
@pytest.mark.parametrize("count", [PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 3])
def test_very_many_packets_for_one_client_are_delivered_in_steps(count: int) -> None:
    world = World()
    world.server()
    client = world.client("/")
    packets = [b"42[%d]" % n for n in range(count)]
    job = world.node.carry_out(SendToConnection(HUB, client.id, b"\x1e".join(packets)))
    assert isinstance(job, Outcome) == (count <= PIECE)
    if not isinstance(job, Outcome):
        next(job)
        world.settle()
        assert 0 < len(heard(client)) < count
        finished(job)
    world.settle()
    assert heard(client) == packets


@pytest.mark.repair(4)
def test_very_many_packets_for_several_clients_are_refused() -> None:
    world = World()
    world.server()
    world.client("/")
    with pytest.raises(PeerError) as refused:
        world.execute(Send(HUB, Selection(), b"\x1e".join([b"44{}"] * (MAX_EMIT + 1)), control=True))
    assert refused.value.reason.name == "api-bad-payload"


def test_the_same_answer_twice_changes_nothing(stage: Stage) -> None:
    world, client, _ = stage
    world.send(client, b'40{"sid":"%b"}' % client.session.peer.namespaces["/"].encode())
    assert (len(client.groups), world.sockets) == (4, 2)
