"""Groups of connections with recoverable sockets."""

from __future__ import annotations

import pytest

from moorage.wire.groups import namespace_group, room_group
from tests.hub.recovery.stage import Stage


@pytest.mark.parametrize("answered", [False, True])
def test_a_socket_that_is_being_recovered_is_parked_until_the_answer(*, answered: bool) -> None:
    stage = Stage()
    rooms, group = stage.world.hub().directory.rooms, room_group("/", "a")
    client = stage.client()
    client.lose()
    client.come_back(answer=answered)
    recovery = stage.world.hub().recovery
    assert recovery is not None
    rooms.join(client.connection, group)
    assert (group in client.connection.groups) is answered
    assert bool(recovery.away.rooms.members(group)) is not answered
    rooms.leave(client.connection, group)
    assert not recovery.away.rooms.members(group)
    rooms.join(client.connection, room_group("/other", "a"))
    assert room_group("/other", "a") in client.connection.groups
    assert (namespace_group("/") in client.connection.groups) is answered
