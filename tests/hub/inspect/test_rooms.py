"""Lists of rooms: the largest first, never a private room, bounded, and shared by callers."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.inspect import rooms
from moorage.hub.inspect.rooms import RoomIndex
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.inspect.forms import (
    ROOM_COUNTS,
    ROOMS,
    NodeCounts,
    NodeRooms,
    RoomCounts,
    RoomsOf,
    RoomsQuery,
)
from moorage.wire.reasons import APP_CLOSED
from tests.hub.fakes import RecordingCluster
from tests.hub.inspect.stage import Stage


def largest(stage: Stage, **query: Any) -> list[tuple[str, str, int]]:
    stage.now += rooms.KEPT_SECONDS
    found = stage.ask(ROOMS, RoomsOf(query=RoomsQuery(**query)), NodeRooms)
    return [(row.namespace, row.room, row.members) for row in found.rooms]


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.server()
    for number in range(6):
        client = made.client("/", "/chat")
        made.join(client, *(f"room{size}" for size in range(number)))
        if number < 2:
            made.join(client, "room1", namespace="/chat")
    return made


def test_the_largest_rooms(stage: Stage) -> None:
    assert largest(stage)[:3] == [("/", "room0", 5), ("/", "room1", 4), ("/", "room2", 3)]
    assert len(largest(stage)) == 6
    assert largest(stage, limit=1) == [("/", "room0", 5)]
    assert largest(stage, namespace="/chat") == [("/chat", "room1", 2)]
    assert largest(stage, hub="APP", limit=1) == [("/", "room0", 5)]
    assert largest(stage, hub="none") == []
    assert stage.ask(ROOMS, RoomsOf(query=RoomsQuery(limit=1)), NodeRooms).total == 6
    assert len(stage.ask(ROOMS, RoomsOf(query=RoomsQuery(limit=1), more=2), NodeRooms).rooms) == 3
    assert stage.rooms.count("app") == 6
    assert stage.rooms.count("none") == 0
    assert stage.rooms.total == 6


@pytest.mark.parametrize("prefix", ["r", "ro", "roo", "room", "room1"])
def test_prefixes(stage: Stage, prefix: str) -> None:
    """Base64 shows some prefixes, and hides others."""
    expected = {(ns, room) for ns, room, _ in largest(stage) if room.startswith(prefix)}
    assert {(ns, room) for ns, room, _ in largest(stage, prefix=prefix)} == expected
    assert expected
    assert largest(stage, prefix=f"{prefix}x", namespace="/") == []


def test_names_that_base64_does_not_separate(stage: Stage) -> None:
    client = stage.client("/")
    stage.join(client, "äpfel", "äb", "a", "ab", "abc", "b~c")
    assert {room for _, room, _ in largest(stage, prefix="ä")} == {"äb", "äpfel"}
    assert {room for _, room, _ in largest(stage, prefix="ab")} == {"ab", "abc"}
    assert {room for _, room, _ in largest(stage, prefix="b~")} == {"b~c"}


def test_rooms_come_and_go(stage: Stage) -> None:
    client = stage.client("/")
    stage.join(client, "brief")
    assert ("/", "brief", 1) in largest(stage)
    stage.node.disconnect(client, APP_CLOSED, who="app")
    assert all(room != "brief" for _, room, _ in largest(stage))
    for each in list(stage.hub().directory.connections.values()):
        stage.node.disconnect(each, APP_CLOSED, who="app")
    assert largest(stage) == []
    assert stage.rooms.hubs == {}


def test_a_private_room_that_was_joined_early_is_neither_listed_nor_counted() -> None:
    """The Python SDK names it first when a `connect` handler enters a room. Other nodes forget it, too."""
    others = RecordingCluster()
    stage = Stage()
    stage.rooms.others = others
    stage.server()
    client = stage.client()
    stage.node.receive(client, b"40")
    sid = f"{client.id}/"
    stage.join(client, sid, "real")
    stage.send(client, f'40{{"sid":"{sid}"}}'.encode())
    assert largest(stage) == [("/", "real", 1)]
    assert stage.ask(ROOMS, RoomsOf(query=RoomsQuery()), NodeRooms).total == 1
    assert stage.rooms.count("app") == 1
    private = room_group("/", sid)
    assert [what for what, group in others.groups if group == private] == ["first", "last"]


def test_an_entry_without_members_or_hub_is_skipped(stage: Stage) -> None:
    stage.rooms.first("app", room_group("/", "empty"))
    stage.rooms.first("gone", room_group("/", "r"))
    assert all(room not in ("empty", "r") for _, room, _ in largest(stage))


def test_a_group_that_is_no_room_is_not_listed(stage: Stage) -> None:
    client = stage.client("/")
    stage.hub().directory.rooms.join(client, "0~plain")
    assert all(room != "plain" for _, room, _ in largest(stage))


def test_an_answer_is_kept_for_others(stage: Stage) -> None:
    first = stage.ask(ROOMS, RoomsOf(query=RoomsQuery()), NodeRooms)
    stage.join(stage.client("/"), "new")
    assert stage.ask(ROOMS, RoomsOf(query=RoomsQuery()), NodeRooms) == first
    assert ("/", "new", 1) in largest(stage)
    for limit in range(1, rooms.MAX_KEPT + 2):
        largest(stage, limit=limit)


def test_a_list_is_made_in_steps_and_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "STEP", 1)
    monkeypatch.setattr(rooms, "PART", 1)
    monkeypatch.setattr(rooms, "DECODED", 1)
    assert stage.steps(ROOM_COUNTS, RoomCounts(rooms=[("app", "/", "room1")] * 5)) >= 5
    assert stage.steps(ROOMS, RoomsOf(query=RoomsQuery())) >= 5
    assert stage.steps(ROOMS, RoomsOf(query=RoomsQuery(prefix="room"))) > stage.steps(
        ROOMS, RoomsOf(query=RoomsQuery(limit=2))
    )
    monkeypatch.setattr(rooms, "MAX_LOOKED", 2)
    stage.now += rooms.KEPT_SECONDS
    assert stage.ask(ROOMS, RoomsOf(query=RoomsQuery(limit=3)), NodeRooms).limited


def test_members_of_named_rooms(stage: Stage) -> None:
    names = [("APP", "/", "room1"), ("app", "/chat", "room1"), ("app", "/", "none"), ("none", "/", "r")]
    assert stage.ask(ROOM_COUNTS, RoomCounts(rooms=names), NodeCounts).members == [4, 2, 0, 0]


def test_news_go_on_to_other_nodes() -> None:
    others = RecordingCluster()
    index = RoomIndex(others)
    group, whole = room_group("/", "r"), namespace_group("/")
    index.first("app", group)
    index.first("app", whole)
    index.last("app", group)
    index.last("app", whole)
    assert others.groups == [("first", group), ("first", whole), ("last", group), ("last", whole)]
    assert not index.is_pending("app", [group])
    called: list[int] = []
    index.when_visible("app", [group], lambda: called.append(1))
    assert called == [1]


def test_alone_everything_is_visible() -> None:
    index = RoomIndex()
    called: list[int] = []
    index.when_visible("app", ["g"], lambda: called.append(1))
    assert called == [1] and not index.is_pending("app", ["g"])
