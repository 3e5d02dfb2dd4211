"""Watched rooms, on real connections."""

from __future__ import annotations

import pytest

from moorage.hub.hub import Connection
from moorage.hub.trace.rooms import WatchedMembers
from moorage.wire import reasons
from moorage.wire.commands import Selection
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.trace.seen import State
from tests.hub.trace.traced import Traced

ROOM = room_group("/", "r")


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def members(world: Traced) -> object:
    return world.hub().directory.rooms.members(ROOM)


def test_who_comes_and_goes(world: Traced) -> None:
    first, second = world.client("/"), world.client("/")
    world.join(first, "r")
    world.watch(room="r")
    assert isinstance(members(world), WatchedMembers)
    world.join(second, "r")
    world.hub().directory.rooms.leave(first, ROOM)
    world.hub().directory.rooms.leave(second, ROOM)
    # The room is made again.
    world.join(first, "r")
    world.node.disconnect(first, reasons.TRANSPORT_LOST, who="client")
    seen = world.seen()
    found = [
        (each.connection, each.state, each.room, each.reason) for each in seen if isinstance(each, State)
    ]
    assert found == [
        (second.id, "joined", "r", ""),
        (first.id, "left", "r", ""),
        (second.id, "left", "r", ""),
        (first.id, "joined", "r", ""),
        (first.id, "closed", "", "transport-lost"),
    ]
    assert world.tracer.take("w").connections == 0


def test_what_members_send(world: Traced) -> None:
    client, other = world.client("/", "/n"), world.client("/")
    world.join(client, "r")
    world.watch(room="r")
    for connection in (client, other):
        world.node.receive(connection, b'42["said"]')
    world.node.receive(client, b'42/n,["elsewhere"]')
    world.send(client, b'42["direct"]')
    world.join(client, "another room")
    assert world.short() == [("in", "event", "said")]


def test_a_namespace(world: Traced) -> None:
    world.watch(room="", namespace="/n")
    world.client("/n")
    world.emit(Selection(group=namespace_group("/n")), b'42/n,["all"]')
    assert world.short()[-2:] == [("joined", "/n"), ("out", "event", "all")]


def test_two_watches_of_one_room(world: Traced) -> None:
    world.watch("a", room="r")
    world.watch("b", room="r")
    world.watch("c", room="another")
    client = world.client("/")
    world.join(client, "r")
    assert world.short("a") == world.short("b") == [("joined", "/", "r")]
    world.tracer.stop("a")
    world.emit(Selection(group=ROOM), b'42["news"]')
    assert world.short("b") == [("out", "event", "news")]
    world.tracer.stop("b")
    assert type(members(world)) is set
    world.tracer.stop("c")
    assert members(world) == {client}


def test_hubs_come_and_go() -> None:
    world = Traced()
    world.watch("all", room="r")
    world.watch("other", room="r", hub="other")
    server, _ = world.server()
    client = world.client("/")
    world.join(client, "r")
    assert world.short("all") == [("joined", "/", "r")]
    assert world.short("other") == []
    world.node.disconnect(client, reasons.APP_CLOSED, who="app")
    world.node.drop_server(world.hub(), server)
    assert not world.node.hubs
    world.seen("all")
    world.server()
    again = world.client("/")
    world.join(again, "r")
    assert world.short("all") == [("joined", "/", "r")]
    for name in ("all", "other"):
        world.tracer.stop(name)


def test_a_watched_member_that_another_watch_follows(world: Traced) -> None:
    client: Connection = world.client("/")
    world.watch("room", room="r")
    world.watch("one", connection=client.id)
    world.join(client, "r")
    world.emit(Selection(group=ROOM), b'42["news"]')
    assert world.short("room") == [("joined", "/", "r"), ("out", "event", "news")]
    assert world.short("one") == [("joined", "/", "r"), ("out", "event", "news")]
    world.hub().directory.rooms.leave(client, ROOM)
    world.node.receive(client, b'42["a"]')
    assert world.short("room") == [("left", "/", "r")]
    assert world.short("one") == [("left", "/", "r"), ("in", "event", "a")]
