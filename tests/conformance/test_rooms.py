"""Rooms: their members, and the recipients of an emit, each of which gets it once."""

from __future__ import annotations

from typing import Any

from tests.conformance.capabilities import shows
from tests.conformance.clients import Client
from tests.conformance.stage import Space, Stage

Heard = list[list[list[Any]]]


def crew(stage: Stage, *rooms: list[str]) -> tuple[Space, list[Client]]:
    """A client for each list of rooms that it is in."""
    clients = stage.define().crew(len(rooms))
    for client, names in zip(clients, rooms, strict=True):
        if names:
            stage.space.join(client, *names)
    return stage.space, clients


def numbers(heard: Heard) -> list[list[Any]]:
    """The first argument of each event."""
    return [[event[1] for event in events] for events in heard]


@shows("broadcast")
def test_to_all(stage: Stage) -> None:
    space, clients = crew(stage, [], [], [])
    heard = stage.hear(clients, lambda: space.emit("x", 1, "two", None))
    assert heard == [[["x", 1, "two", None]]] * 3


@shows("broadcast-from")
def test_to_all_but_the_sender(stage: Stage) -> None:
    space, clients = crew(stage, ["room"], ["room"], [])

    def act() -> None:
        space.emit("x", 1, sender=clients[0])
        space.emit("x", 2, sender=clients[0], to=["room"])
        space.emit("x", 3, sender=clients[2], to=["room"])

    assert numbers(stage.hear(clients, act)) == [[3], [1, 2, 3], [1]]


@shows("rooms")
def test_a_room_and_a_socket_that_left_it(stage: Stage) -> None:
    space, clients = crew(stage, ["room", "other"], ["room", "other"], [])
    space.leave(clients[1], "room")
    assert [space.rooms(client) for client in clients] == [{"room", "other"}, {"other"}, set()]

    def act() -> None:
        space.emit("x", 1, to=["room"])
        space.emit("x", 2, to=["other"])
        space.emit("x", 3, to=["nobody"])

    assert numbers(stage.hear(clients, act)) == [[1, 2], [2], []]


@shows("rooms")
def test_a_finished_join_counts_for_the_next_emit(stage: Stage) -> None:
    space, [client] = crew(stage, [])
    for n in range(20):
        space.join(client, f"room {n}")
        space.emit("x", n, to=[f"room {n}"])
        space.leave(client, f"room {n}")
        space.emit("x", "left", to=[f"room {n}"])
    assert numbers(stage.hear([client], lambda: None)) == [list(range(20))]


@shows("rooms")
def test_a_client_that_reconnected_is_in_no_room(stage: Stage) -> None:
    space, clients = crew(stage, ["room"], [])
    left = clients[0].sid
    clients[0].act("disconnect")
    space.wait("disconnect", sid=left)
    stage.here(clients[0].again())
    assert space.rooms(clients[0]) == set()
    assert stage.hear(clients, lambda: space.emit("x", to=["room"])) == [[], []]


@shows("to")
def test_a_member_of_several_rooms_gets_an_emit_once(stage: Stage) -> None:
    space, clients = crew(stage, ["a", "b", "c"], ["b"], [])

    def act() -> None:
        space.emit("x", 1, to=["a", "b", "c"])
        space.emit("x", 2, to=["a", "b", "nobody"])
        space.emit("x", 3, to=["c", "a"], sender=clients[1])

    assert numbers(stage.hear(clients, act)) == [[1, 2, 3], [1, 2], []]


@shows("to")
def test_a_sockets_id_is_a_room(stage: Stage) -> None:
    space, clients = crew(stage, ["room"], [], [])
    heard = stage.hear(clients, lambda: space.emit("x", 1, to=[clients[1], "room"]))
    assert numbers(heard) == [[1], [1], []]


@shows("to")
def test_any_text_names_a_room(stage: Stage) -> None:
    names = ["a b", "it's", "a/b?c=d&e", "'", "é漢🚢", "~", "in groups", "x" * 200, "0", "*"]
    space, clients = crew(stage, names, [])
    assert space.rooms(clients[0]) == set(names)

    def act() -> None:
        for name in names:
            space.emit("x", name, to=[name])
        space.emit("x", "all", to=names, except_=["it's not"])

    assert numbers(stage.hear(clients, act)) == [[*names, "all"], []]


@shows("except")
def test_a_socket_in_an_excepted_room_gets_nothing(stage: Stage) -> None:
    space, clients = crew(stage, ["a"], ["b"], ["a", "out"], ["b", "away"])

    def act() -> None:
        space.emit("x", 1, except_=["out"])
        space.emit("x", 2, to=["a"], except_=["out"])
        space.emit("x", 3, to=["a", "b"], except_=["out"])
        space.emit("x", 4, to=["a", "b"], except_=["out", "away"])
        space.emit("x", 5, except_=["a", "b"])
        space.emit("x", 6, except_=[clients[0], "b"])

    heard = stage.hear(clients, act)
    assert numbers(heard) == [[1, 2, 3, 4], [1, 3, 4], [6], [1, 3]]


@shows("sockets-join")
def test_many_sockets_are_moved_at_once(stage: Stage) -> None:
    space, clients = crew(stage, ["old"], ["old", "stay"], [])
    space.call("sockets_join", to=["old"], rooms=["new", "newer"], **{"except": ["stay"]})
    space.call("sockets_leave", to=["stay"], rooms=["old"])
    space.call("sockets_join", to=[clients[2]], rooms=["newer"])

    def act() -> None:
        space.emit("x", "new", to=["new"])
        space.emit("x", "newer", to=["newer"])
        space.emit("x", "old", to=["old"])

    assert numbers(stage.hear(clients, act)) == [["new", "newer", "old"], [], ["newer"]]
    for client, rooms in zip(clients, ({"old", "new", "newer"}, {"stay"}, {"newer"}), strict=True):
        space.until_in(client, rooms)


@shows("sockets-join")
def test_a_room_is_emptied(stage: Stage) -> None:
    space, clients = crew(stage, ["room", "other"], ["room"])
    space.call("empty", rooms=["room"])
    assert stage.hear(clients, lambda: space.emit("x", to=["room"])) == [[], []]
    for client, rooms in zip(clients, ({"other"}, set[str]()), strict=True):
        space.until_in(client, rooms)


@shows("sockets-join")
def test_all_sockets_are_moved_at_once(stage: Stage) -> None:
    space, clients = crew(stage, [], [])
    space.call("sockets_join", rooms=["everyone"])
    assert numbers(stage.hear(clients, lambda: space.emit("x", 1, to=["everyone"]))) == [[1], [1]]
    if stage.sdk == "azure":
        # Its socketsJoin continues after the call: it adds its own sockets again, one by one.
        for client in clients:
            space.until_in(client, {"everyone"})
    space.call("sockets_leave", rooms=["everyone"])
    assert numbers(stage.hear(clients, lambda: space.emit("x", 1, to=["everyone"]))) == [[], []]
