"""Answers of several nodes become one."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from moorage.control.admin import merging
from moorage.control.admin.merging import Ends, Page
from moorage.wire.ids import incarnation_of
from moorage.wire.inspect.forms import HubRow, NodeHistory, NodeHubs, NodeRooms, Point, RoomRow

NODES = ["node000a", "node000b", "node000c"]
CONNECTIONS = st.sets(
    st.tuples(st.sampled_from(["app", "zoo"]), st.sampled_from(NODES), st.integers(0, 30)), max_size=40
)


def node_page(rows: list[tuple[str, str]], node: str, cursor: tuple[str, str], limit: int) -> Page:
    """What a node answers: `rows` are all of its connections, in its own order within each hub."""
    own = [row for row in rows if incarnation_of(row[1]) == node]
    place = (cursor[0], incarnation_of(cursor[1]))
    later = [row for row in own if (row[0], node) > place]
    if cursor in own:
        later = own[own.index(cursor) + 1 :]
    shown = later[:limit]
    following = shown[-1] if len(later) > limit and shown else None
    return Page([msgspec.Raw(id.encode()) for _, id in shown], shown, following)


@given(CONNECTIONS, st.integers(1, 7), st.randoms(use_true_random=False))
def test_pages_of_nodes_hold_each_row_once(
    found: set[tuple[str, str, int]], limit: int, chance: random.Random
) -> None:
    ids = [(hub, f"{node}{number:02}") for hub, node, number in found]
    chance.shuffle(ids)
    ids.sort(key=lambda row: row[0])
    seen: list[str] = []
    cursor: tuple[str, str] | None = ("", "")
    while cursor is not None:
        parts = {node: node_page(ids, node, cursor, limit) for node in NODES}
        rows, cursor = merging.page(parts, limit)
        assert len(rows) <= limit
        assert rows or cursor is None
        seen += [bytes(row).decode() for row in rows]
    assert sorted(seen) == sorted(f"{node}{number:02}" for _, node, number in found)


def test_a_page_without_rows_goes_on() -> None:
    """A node has looked at very many connections, and found none."""
    limited = Page([], [], ("app", "node000a07"), limited=True)
    other = Page([msgspec.Raw(b"1")], [("app", "node000b01")], None)
    assert merging.page({"node000a": limited, "node000b": other}, 10) == ([], ("app", "node000a07"))


def test_the_newest_ends() -> None:
    raw = [msgspec.Raw(str(number).encode()) for number in range(4)]
    parts = [Ends([raw[3], raw[1]], [3.0, 1.0]), Ends([raw[2], raw[0]], [2.0, 0.0])]
    assert [bytes(row) for row in merging.newest(parts, 3)] == [b"3", b"2", b"1"]


def test_hubs_are_added_up() -> None:
    first = NodeHubs(hubs=[HubRow(name="App", connections=1, sockets=2, rooms=3, app_servers=4, parked=5)])
    second = NodeHubs(hubs=[HubRow(name="zoo"), HubRow(name="app", connections=10)])
    assert merging.hubs([first, second]) == [
        HubRow(name="App", connections=11, sockets=2, rooms=3, app_servers=4, parked=5),
        HubRow(name="zoo"),
    ]


def test_rooms() -> None:
    def room(name: str, members: int) -> RoomRow:
        return RoomRow(hub="app", namespace="/", room=name, members=members)

    parts = [NodeRooms(rooms=[room("a", 3), room("b", 2)], total=2), NodeRooms(rooms=[room("b", 2)], total=1)]
    rows = merging.candidates(parts)
    assert [(row.room, row.members) for row in merging.largest(rows, 5)] == [("b", 4), ("a", 3)]
    assert [row.room for row in merging.largest(rows, 1)] == ["b"]


def point(time: float, **figures: float) -> Point:
    zero = {name: 0 for name in Point.__struct_fields__}
    return msgspec.convert({**zero, **figures, "time": time}, Point)


def test_history_is_added_up_by_time() -> None:
    first = NodeHistory(
        points=[point(5, connections=1, loop_lag=0.5), point(10, connections=2, cpu=0.25)],
        reasons={"slow-client": 1},
        refusals={},
    )
    second = NodeHistory(
        points=[point(10, connections=3, cpu=0.5, loop_lag=0.1)],
        reasons={"slow-client": 2},
        refusals={"bad-request": 1},
    )
    points, reasons, refusals = merging.history([first, second])
    assert [(each.time, each.connections, each.cpu, each.loop_lag) for each in points] == [
        (5, 1, 0, 0.5),
        (10, 5, 0.75, 0.1),
    ]
    assert (reasons, refusals) == ({"slow-client": 3}, {"bad-request": 1})
