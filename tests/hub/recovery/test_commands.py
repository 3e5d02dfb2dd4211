"""Commands that reach parked sockets."""

from __future__ import annotations

import pytest

from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Exists,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Outcome,
    Selection,
    Send,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import room_group
from moorage.wire.reasons import API_BAD_PAYLOAD, BAD_UTF8
from moorage.wire.socketio import MAX_EMIT
from tests.hub.fakes import HUB, RecordingOpening, RecordingPeer
from tests.hub.recovery.stage import ROOT, Stage, room


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_groups_of_parked_sockets_change(stage: Stage) -> None:
    world = stage.world
    client = stage.client("/", "/ns")
    world.join(client.connection, "first")
    client.lose()
    world.emit(room("first"), b'42["in first",1]')
    group = room_group("/", "second")
    assert world.execute(JoinGroups(HUB, room("first"), (group, room_group("/ns", "x")))).reached == 0
    world.emit(room("second"), b'42["in second",2]')
    world.execute(LeaveGroups(HUB, room("second"), (room_group("/", "first"),)))
    world.emit(room("first"), b'42["not in first",3]')
    world.execute(LeaveGroups(HUB, ROOT, None))
    world.emit(room("second"), b'42["not in second",4]')
    world.emit(room(client.sid["/"]), b'42["its own room",5]')
    world.execute(JoinGroups(HUB, ROOT, (group,)))
    world.emit(room("second"), b'42["in second",6]')
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 5, 6]
    assert stage.returns.sockets[0][1].rooms == ("second",)
    assert group in client.connection.groups
    assert room_group("/ns", "x") not in client.connection.groups


def test_the_app_server_that_restores_a_socket_learns_of_changes(stage: Stage) -> None:
    world, peer = stage.world, RecordingPeer()
    stage.server.peer = peer
    client = stage.client("/")
    client.lose(save=None)
    old, new = room_group("/", "old"), room_group("/", "new")
    world.execute(JoinGroups(HUB, ROOT, (old,)))
    client.come_back(answer=False)
    world.execute(JoinGroups(HUB, ROOT, (new,)))
    assert not peer.moves, "it does not know yet that the client is back"
    client.save(b"{}")
    assert set(stage.returns.sockets[0][1].rooms) == {"old", "new"}
    world.execute(JoinGroups(HUB, ROOT, (room_group("/", "later"), room_group("/ns", "other"))))
    world.execute(LeaveGroups(HUB, ROOT, (old,)))
    world.execute(JoinGroups(HUB, ROOT, (old,), quiet=True))
    world.execute(LeaveGroups(HUB, ROOT, (new,), quiet=True))
    world.execute(LeaveGroups(HUB, ROOT, (room_group("/ns", "other"),)))
    here = (client.connection.id, "/")
    assert peer.moves == [(*here, ("later",), True), (*here, ("old",), False)]


def test_parked_sockets_are_neither_found_nor_listed(stage: Stage) -> None:
    client = stage.client()
    client.lose()
    assert not stage.world.execute(Exists(HUB, ROOT)).found
    assert stage.world.execute(ListGroup(HUB, room_group("/", client.sid["/"]), 10)) == Outcome(reached=0)


@pytest.mark.parametrize("close", [False, True])
def test_a_disconnect_by_selection_ends_parked_sockets(stage: Stage, close: bool) -> None:
    client, other = stage.client("/", "/ns"), stage.client("/", "/ns")
    stage.world.join(client.connection, "room")
    client.lose()
    other.lose()
    stage.world.execute(LeaveNamespace(HUB, room("room"), "/", close=close))
    stage.world.execute(LeaveNamespace(HUB, room("room"), "/other"))
    client.come_back("/", "/ns", answer=False)
    other.come_back("/", "/ns", answer=False)
    assert len(stage.returns.sockets) == (2 if close else 3)


def test_a_close_by_selection_ends_parked_sockets(stage: Stage) -> None:
    client = stage.client("/", "/ns")
    client.lose()
    stage.world.execute(CloseConnections(HUB, EVERYONE))
    client.come_back("/", "/ns", answer=False)
    assert not stage.returns.sockets
    assert stage.world.node.claims.counts.refused == {"unknown": 2}


@pytest.mark.parametrize("payload", [b"41", b"42\xff", b"42[1]\x1e" * MAX_EMIT + b"42[1]"])
def test_an_emit_that_is_refused_is_not_recorded(stage: Stage, payload: bytes) -> None:
    client = stage.client()
    client.lose()
    with pytest.raises(PeerError) as caught:
        stage.world.emit(ROOT, payload)
    assert caught.value.reason in (API_BAD_PAYLOAD, BAD_UTF8)
    stage.world.send(client.connection, b"41")
    client.come_back()
    assert client.events == []


def test_an_emit_without_offset_is_the_same_payload(stage: Stage) -> None:
    world = stage.world
    client = stage.client()
    world.emit(ROOT, b"43/ns,1[]")
    world.execute(Send(HUB, ROOT, b'42["volatile","text"]', volatile=True))
    world.emit(Selection(group="nobody"), b'42["a"]')
    client.read()
    assert client.packets[-2:] == [b"43/ns,1[]", b'42["volatile","text","%b"]' % client.offset["/"].encode()]
    assert client.offset["/"].endswith(".0")


@pytest.mark.parametrize(
    "to",
    [
        EVERYONE,
        Selection(user="u"),
        Selection(group="a group of connections"),
        Selection(filter=Filter(any_of=("a group of connections", room_group("/", "a")))),
        Selection(filter=Filter(none_of=("nothing",))),
    ],
)
def test_an_event_is_for_sockets_of_its_namespace(stage: Stage, to: Selection) -> None:
    """Stock clients keep events that come before the answer to their CONNECT, and hand them over later."""
    world = stage.world
    client = stage.client(user_id="u")
    world.execute(JoinGroups(HUB, EVERYONE, ("a group of connections",)))
    client.lose()
    early = world.open(RecordingOpening(), user_id="u")
    world.execute(JoinGroups(HUB, EVERYONE, ("a group of connections",)))
    world.emit(to, b'42["missed",1]')
    world.emit(to, b'42/other,["elsewhere",2]')
    client.connection, client._read = early, 0
    client.events.clear()
    world.node.receive(early, b'40{"pid":"%b"}' % client.pid["/"].encode())
    world.emit(to, b'42["missed",3]')
    client.answer()
    world.emit(to, b'42["live",4]')
    client.read()
    assert [event[2] for event in client.events] == [1, 3, 4]
