"""The number of clients that a hub and a user may have."""

from __future__ import annotations

import pytest

from moorage.hub.ports import RefusedError
from moorage.hub.settings import HubSettings
from moorage.wire.errors import PeerError
from moorage.wire.groups import room_group
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import CLIENT_CLOSED, HUB_FULL, TOO_MANY_ROOMS, USER_FULL
from tests.hub.fakes import HUB, RecordingOpening, World

TERMS = OpenInfo(25_000, 20_000, 1_000_000)


def test_a_hub_has_only_so_many_clients() -> None:
    world = World(hubs={HUB: HubSettings(max_connections=2)})
    world.server()
    first, _ = world.client(), world.client()
    with pytest.raises(RefusedError) as refused:
        world.open(RecordingOpening())
    assert (refused.value.reason, refused.value.detail) == (HUB_FULL, "hubs.NAME.max_connections: 2")
    world.node.disconnect(first, CLIENT_CLOSED, who="client")
    assert world.client()


def test_clients_that_wait_for_their_app_server_count_in_the_hub() -> None:
    world = World(hubs={HUB: HubSettings(max_connections=1)})
    _, link = world.server()
    link.on_open = lambda connection: None
    waiting = world.open(RecordingOpening())
    with pytest.raises(RefusedError):
        world.open(RecordingOpening())
    world.node.abandon(waiting)
    assert world.open(RecordingOpening())


def test_a_user_has_only_so_many_clients() -> None:
    world = World(hubs={HUB: HubSettings(max_connections_per_user=1)})
    _, link = world.server()
    first = world.client(user_id="ada")
    for other in ("bob", None):
        assert world.client(user_id=other)
    assert world.client()
    with pytest.raises(RefusedError) as refused:
        world.open(RecordingOpening(), user_id="ada")
    assert refused.value.reason is USER_FULL
    world.node.disconnect(first, CLIENT_CLOSED, who="client")

    # Two ask at the same moment: the second one is refused when its app server accepts it.
    link.on_open = lambda connection: None
    openings = [RecordingOpening(), RecordingOpening()]
    asked = [world.open(opening, user_id="ada") for opening in openings]
    for connection in asked:
        world.node.accept(connection, TERMS)
    assert [len(opening.accepts) for opening in openings] == [1, 0]
    assert openings[1].refusals == [(USER_FULL, "hubs.NAME.max_connections_per_user: 1")]
    assert link.ended[-1] == (asked[1].id, USER_FULL)
    assert world.node.connections == 4


def test_a_hub_has_only_so_many_rooms() -> None:
    # Two sockets: the namespace and two private rooms exist.
    world = World(hubs={HUB: HubSettings(max_rooms=5)})
    world.server()
    first, second = world.client("/"), world.client("/")
    rooms = world.hub().directory.rooms
    world.join(first, "a")
    before = len(rooms)
    free = 5 - before
    world.join(first, *(f"room {number}" for number in range(free)))
    with pytest.raises(PeerError) as refused:
        world.join(first, "one more")
    assert (refused.value.reason, refused.value.detail) == (TOO_MANY_ROOMS, "hubs.NAME.max_rooms: 5")
    assert len(rooms) == 5
    # Rooms that exist have a place for everybody, and the last one who leaves makes place for another room.
    world.join(second, "a")
    world.node.disconnect(first, CLIENT_CLOSED, who="client")
    world.join(second, "one more")


def test_sockets_beyond_the_limit_may_still_join_rooms_that_exist() -> None:
    world = World(hubs={HUB: HubSettings(max_rooms=4)})
    world.server()
    first = world.client("/")
    world.join(first, "a")
    second = [world.client("/") for _ in range(5)][-1]
    assert len(world.hub().directory.rooms) > 4
    world.join(second, "a")
    assert room_group("/", "a") in second.groups
    with pytest.raises(PeerError) as refused:
        world.join(second, "b")
    assert refused.value.reason is TOO_MANY_ROOMS
