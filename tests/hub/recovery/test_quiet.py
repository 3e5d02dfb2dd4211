"""Quiet recovery: the app server keeps its sockets, and is told nothing if a client is back in time."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.hub import Connection
from moorage.hub.settings import HubSettings
from moorage.hub.turns import AT_ONCE
from moorage.wire.commands import (
    EVERYONE,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Selection,
    SendToConnection,
)
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import DRAINING, PING_TIMEOUT, RETURNED, TRANSPORT_LOST
from tests.hub.fakes import HUB, RecordingOpening, RecordingPeer, World
from tests.hub.recovery.stage import ROOT, Returning, Stage, refused, room


@pytest.fixture
def stage() -> Stage:
    return Stage(quiet=True)


def to_former(stage: Stage, former: Connection, payload: bytes) -> None:
    """The app server sends by the number of a client that is away."""
    job = stage.world.node.send(former, payload)
    for _ in job or ():
        pass


def ends(stage: Stage) -> list[tuple[str, str]]:
    """Ends that the app server was told of."""
    return [(client, reason.name) for client, reason in stage.link.ended]


def test_the_socket_goes_on_with_the_new_connection(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.join(client.connection, "room")
    former = client.connection
    world.emit(ROOT, b'42["live",0]')
    client.lose(save=None)
    assert stage.returns.away == [(former.id, "transport-lost")]
    world.emit(room("room"), b'42["missed",1]')
    to_former(stage, former, b'42["direct",2]')
    to_former(
        stage, former, b'42["long",3]\x1e451-["binary",{"_placeholder":true,"num":0}]\x1ebAA==\x1e43/ns,1[]'
    )
    client.come_back(answer=False)
    client.read()
    assert [event[1] for event in client.events] == ["missed", "direct", "long", "binary"]
    assert stage.returns.backs == [(client.connection.id, "/", client.sid["/"], former.id)]
    assert stage.link.packets(client.connection) == []
    # What the app server sends before it knows of the new connection gets there too.
    to_former(stage, former, b'42["direct",4]')
    to_former(stage, former, b"43/ns,1[]")
    to_former(stage, former, b'430["ack"]')
    world.emit(room("room"), b'42["live",5]')
    world.node.receive(client.connection, b'42["from the client"]')
    client.read()
    assert [event[1] for event in client.events[4:]] == ["direct", "live"]
    assert b'430["ack"]' in client.packets
    assert stage.link.packets(client.connection) == [b'42["from the client"]']
    claims = world.node.claims
    assert claims.quiet.where(former, "/") is client.connection
    assert claims.quiet.where(former, "/ns") is former
    assert ends(stage) == []
    stage.link.take()
    assert ends(stage) == [(former.id, "transport-lost")]
    to_former(stage, former, b'42["too late"]')
    client.read()
    assert len(client.events) == 6
    assert world.sockets == 1


def test_it_comes_and_goes_again(stage: Stage) -> None:
    client = stage.client("/", "/ns")
    formers = []
    for number in range(3):
        formers.append(client.connection)
        client.lose(save=None)
        to_former(stage, formers[0], b'42/ns,["by the first",%d]' % number)
        to_former(stage, formers[-1], b'42["by the last",%d]' % number)
        client.come_back("/", "/ns", answer=False)
        client.read()
        assert client.events == [["/", "by the last", number], ["/ns", "by the first", number]]
    stage.link.take()
    assert ends(stage) == [(former.id, "transport-lost") for former in formers]
    client.lose(save=None)
    stage.tick(121)
    assert ends(stage)[3:] == [(client.connection.id, "transport-lost")]


def test_groups_change_while_it_is_away(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    assert world.node.claims.quiet.where(former, "/") is former
    world.execute(JoinGroups(HUB, Selection(connection=former.id), (room_group("/", "new"),), quiet=True))
    world.emit(room("new"), b'42["missed"]')
    client.come_back(answer=False)
    client.read()
    assert client.events == [["/", "missed"]]
    assert room_group("/", "new") in client.connection.groups


def test_acks_that_the_app_waits_for(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/ns")
    world.send(client.connection, b'42/ns,1["acked"]')
    world.send(client.connection, b'42/ns,2["not acked"]')
    world.emit(Selection(group=namespace_group("/ns")), b'42/ns,["event"]')
    world.node.receive(client.connection, b"43/ns,1[]")
    client.read()
    client.lose(save=None)
    to_former(stage, client.connection, b'42/ns,3["missed"]')
    client.come_back("/ns", answer=False)
    client.read()
    # The client has had the second one, but its ack may have been lost.
    assert client.packets[1:] == [b'42/ns,2["not acked"]', b'42/ns,3["missed"]']
    world.node.receive(client.connection, b"43/ns,2[]")
    assert stage.link.packets(client.connection) == [b"43/ns,2[]"]
    client.lose(save=None)
    client.come_back("/ns", answer=False)
    client.read()
    assert client.packets[1:] == [b'42/ns,3["missed"]']
    # Later the client has certainly had it, and may still ack it.
    stage.tick(100)
    client.lose(save=None)
    client.come_back("/ns", answer=False)
    client.read()
    assert client.packets[1:] == []


def test_its_time_is_over(stage: Stage) -> None:
    client = stage.client("/", "/ns")
    client.lose(save=None)
    stage.tick(121)
    assert ends(stage) == [(client.connection.id, "transport-lost")]
    client.come_back(answer=False)
    assert stage.link.packets(client.connection) == [client.asked]


@pytest.mark.parametrize("by", ["disconnect", "error", "close packet", "close", "selection"])
def test_the_app_server_ends_it(stage: Stage, by: str) -> None:
    world = stage.world
    client = stage.client("/", "/ns")
    former = client.connection
    client.lose(save=None)
    if by == "close packet":
        to_former(stage, former, b"1")
    elif by == "close":
        world.node.disconnect(former, TRANSPORT_LOST, who="app")
    elif by == "selection":
        world.execute(LeaveNamespace(HUB, Selection(connection=former.id), "/", close=True))
    else:
        for namespace in (b"", b"/ns,"):
            to_former(
                stage, former, (b"41" if by == "disconnect" else b"44") + namespace + b"{}" * (by == "error")
            )
    assert ends(stage) == [(former.id, "transport-lost")]
    client.come_back(answer=False)
    assert stage.link.packets(client.connection) == [client.asked]


def test_one_of_two_sockets_ends(stage: Stage) -> None:
    client = stage.client("/", "/ns")
    former = client.connection
    client.lose(save=None)
    to_former(stage, former, b"41/ns,")
    assert ends(stage) == []
    client.come_back("/", "/ns", answer=False)
    stage.link.take()
    assert ends(stage) == [(former.id, "transport-lost")]
    assert stage.link.packets(client.connection) == [client.asked]


def test_it_comes_back_to_another_app_server(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    other, link = world.server("s2", peer=RecordingPeer())
    stage.recoverable(other)
    stage.server.draining = True
    client.come_back(answer=False)
    assert ends(stage) == [(former.id, "transport-lost")], (
        "the former app server is told, and saves the socket"
    )
    client.save(b"{}")
    assert [socket.sid for _, socket in stage.returns.sockets] == [client.sid["/"]]
    client.answer()
    assert link.packets(client.connection) == []
    assert room_group("/", client.sid["/"]) in client.connection.groups


def test_the_app_server_of_many_clients_is_lost(stage: Stage) -> None:
    clients = [stage.client() for _ in range(AT_ONCE + 10)]
    for client in clients:
        client.lose(save=None, read=False)
    other, link = stage.world.server("s2", peer=RecordingPeer())
    stage.recoverable(other)
    stage.world.node.drop_server(stage.world.hub(), stage.server)
    last = clients[-1]
    last.come_back(answer=False)
    assert link.packets(last.connection) == [last.asked], "before its turn"
    stage.world.settle()
    recovery = stage.world.hub().recovery
    assert recovery is not None
    assert len(recovery.away) == 0


def test_the_app_server_is_lost(stage: Stage) -> None:
    client = stage.client()
    client.lose(save=None)
    other, link = stage.world.server("s2", peer=RecordingPeer())
    stage.recoverable(other)
    stage.world.node.drop_server(stage.world.hub(), stage.server)
    client.come_back(answer=False)
    assert link.packets(client.connection) == [client.asked]


@pytest.mark.parametrize("why", ["draining", "leaving", "moving"])
def test_some_ends_are_told_at_once(stage: Stage, why: str) -> None:
    client = stage.client()
    stage.server.draining = why == "leaving"
    stage.returns.tells = why != "moving"
    client.lose(DRAINING if why == "draining" else TRANSPORT_LOST, save=None)
    assert len(ends(stage)) == 1
    assert stage.returns.away == []


def test_a_live_connection_gives_way(stage: Stage) -> None:
    client = stage.client()
    former = client.connection
    stage.world.emit(ROOT, b'42["lost on the way"]')
    client.come_back(answer=False)
    client.read()
    assert client.events == [["/", "lost on the way"]]
    assert stage.returns.away == [(former.id, "returned")]
    assert stage.world.logged[0][1] == RETURNED.name


def test_a_rest_caller_sends_to_a_client_that_is_away(stage: Stage) -> None:
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    assert not stage.world.execute(SendToConnection(HUB, former.id, b'42["missed"]')).found
    stage.world.execute(SendToConnection(HUB, former.id, b"41"))
    stage.world.emit(EVERYONE, b'42["to all"]')
    client.come_back(answer=False)
    client.read()
    assert client.events == [["/", "missed"], ["/", "to all"]]


def test_a_long_payload_for_a_client_that_is_away(stage: Stage) -> None:
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    to_former(stage, former, b"\x1e".join(b'42["event",%d]' % number for number in range(600)))
    client.come_back(answer=False)
    client.read()
    assert [event[2] for event in client.events] == list(range(600))


def test_what_cannot_be_read_is_dropped(stage: Stage) -> None:
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    for payload in (b"2", b"4", b"42/other,[1]", b'42["broken"', b"b"):
        to_former(stage, former, payload)
    client.come_back(answer=False)
    client.read()
    assert client.events == []


def test_a_former_connection_that_is_empty(stage: Stage) -> None:
    client: Any = stage.client()
    world = stage.world
    plain = Returning(stage, world.open(RecordingOpening()), {})
    world.node.disconnect(plain.connection, TRANSPORT_LOST, who="client")
    assert ends(stage) == [(plain.connection.id, "transport-lost")]
    world.node.receive(client.connection, b"41")
    client.lose(save=None)
    assert stage.returns.away == []


def test_the_end_is_noticed_twice(stage: Stage) -> None:
    """First by the heartbeat, then by the transport."""
    client = stage.client("/", "/ns")
    former = client.connection
    client.lose(PING_TIMEOUT, save=None)
    stage.world.node.disconnect(former, TRANSPORT_LOST, who="client")
    client.come_back("/", "/ns", answer=False)
    assert [(namespace, sid) for _, namespace, sid, _ in stage.returns.backs] == list(client.sid.items())


def test_the_app_server_hears_of_rooms_while_its_client_is_away(stage: Stage) -> None:
    client = stage.client()
    former = client.connection.id
    client.lose(save=None)
    for make in (JoinGroups, LeaveGroups):
        stage.world.execute(make(HUB, ROOT, (room_group("/", "r"),)))
        stage.world.execute(make(HUB, Selection(connection=former), (room_group("/", "own"),), quiet=True))
    peer = stage.server.peer
    assert isinstance(peer, RecordingPeer)
    assert peer.moves == [(former, "/", ("r",), True), (former, "/", ("r",), False)]


def test_a_client_that_has_missed_too_much() -> None:
    stage = Stage(World(hubs={HUB: HubSettings(recovery_session_events=2)}), quiet=True)
    client = stage.client()
    former = client.connection
    client.lose(save=None)
    for number in range(3):
        stage.world.emit(ROOT, b'42["missed",%d]' % number)
    client.come_back(answer=False)
    assert refused(stage) == {"dropped": 1}
    assert stage.link.packets(client.connection) == [client.asked]
    assert ends(stage) == [(former.id, "transport-lost")]
