"""The rooms of a socket that moves."""

from __future__ import annotations

from moorage.hub.handover.sockets import Left, Made, made_of
from moorage.wire.groups import namespace_group, room_group


def test_a_socket_has_the_rooms_of_its_own_namespace() -> None:
    groups = (
        namespace_group("/"),
        room_group("/", "s1"),
        room_group("/", "a"),
        room_group("/other", "b"),
        "somebody's own group",
    )
    assert made_of(Left("/", "s1", b"{}", 4), groups) == Made("/", "s1", ("a",), b"{}", 4)
