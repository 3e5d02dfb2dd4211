"""All nodes are asked; who does not answer is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from moorage.control.admin.questions import MORE, Known, Questions
from moorage.wire.commands import Command, Inspect, Outcome, Report
from moorage.wire.errors import PeerError
from moorage.wire.inspect import forms
from moorage.wire.inspect.forms import Rows
from moorage.wire.reasons import ADMIN_NODE_SILENT, ADMIN_UNKNOWN_NODE, API_NOT_FOUND

A, B = "node000a", "node000b"
NODES = [Known(A, "one"), Known(B, "two")]


class Cluster:
    """Answers for its nodes."""

    def __init__(self, **answers: Mapping[str, Rows]) -> None:
        self.answers = answers
        self.asked: list[Inspect] = []
        self.missing: tuple[str, ...] = ()

    async def execute(self, command: Command) -> Outcome:
        assert isinstance(command, Inspect)
        self.asked.append(command)
        found = self.answers.get(command.what.replace("-", "_"), {})
        reports = tuple(
            Report(node, msgspec.json.encode(rows))
            for node, rows in found.items()
            if command.node in ("", node)
        )
        return Outcome(reports=reports, missing=self.missing)


def questions(cluster: Cluster, nodes: list[Known] = NODES) -> Questions:
    return Questions(cluster.execute, lambda: nodes)


def room(name: str, members: int) -> forms.RoomRow:
    return forms.RoomRow(hub="app", namespace="/", room=name, members=members)


def test_names_of_nodes() -> None:
    ask = questions(Cluster(), [*NODES, Known("node000c", "two")])
    assert (ask.node(A), ask.node("one"), ask.node("node000c")) == (A, A, "node000c")
    for unknown in ("two", "three", ""):
        with pytest.raises(PeerError) as refused:
            ask.node(unknown)
        assert refused.value.reason is ADMIN_UNKNOWN_NODE


async def test_nodes_without_an_answer_are_missing() -> None:
    """A node that is too old to know the question gives no report, and is not in the outcome's list."""
    cluster = Cluster(hubs={A: forms.NodeHubs(hubs=[forms.HubRow(name="app", connections=1)])})
    assert (await questions(cluster).hubs()).missing == ["two"]
    cluster.missing = ("two",)
    answer = await questions(cluster).hubs()
    assert ([hub.connections for hub in answer.hubs], answer.missing) == ([1], ["two"])


async def test_a_connection() -> None:
    none: dict[str, Any] = {name: None for name in forms.ConnectionFull.__struct_fields__}
    full = forms.ConnectionFull(**none | {"id": f"{A}x"})
    cluster = Cluster(connection={A: full})
    found = await questions(cluster).connection(f"{A}x")
    assert msgspec.json.decode(found)["id"] == f"{A}x"
    assert [command.node for command in cluster.asked] == [A]


async def test_a_connection_that_is_not_found() -> None:
    cluster = Cluster()
    for unknown in ("x", f"{A}x", "node000cx"):
        with pytest.raises(PeerError) as refused:
            await questions(cluster).connection(unknown)
        assert refused.value.reason is API_NOT_FOUND
    cluster.missing = ("two",)
    with pytest.raises(PeerError) as silent:
        await questions(cluster).connection(f"{B}x")
    assert silent.value.reason is ADMIN_NODE_SILENT


async def test_rooms_of_several_nodes() -> None:
    """A room that only one node has named is counted at all of them."""
    cluster = Cluster(
        rooms={
            A: forms.NodeRooms(rooms=[room("a", 3), room("b", 2)], total=2),
            B: forms.NodeRooms(rooms=[room("b", 2)], total=5, limited=True),
        },
        room_counts={A: forms.NodeCounts(members=[3, 2]), B: forms.NodeCounts(members=[1, 2])},
    )
    found = await questions(cluster).rooms(forms.RoomsQuery(limit=200))
    assert [(row.room, row.members) for row in found.rooms] == [("a", 4), ("b", 4)]
    assert (found.total, found.limited, found.missing) == (7, True, [])
    asked = msgspec.json.decode(cluster.asked[0].arguments, type=forms.RoomsOf)
    assert (asked.query.limit, asked.more) == (200, MORE)


async def test_rooms_of_one_node_are_not_counted_again() -> None:
    cluster = Cluster(rooms={A: forms.NodeRooms(rooms=[room("a", 3)], total=1)})
    found = await questions(cluster, NODES[:1]).rooms(forms.RoomsQuery())
    assert [(row.room, row.members) for row in found.rooms] == [("a", 3)]
    assert len(cluster.asked) == 1


async def test_rooms_whose_count_is_not_told() -> None:
    """What the nodes have told first is better than nothing."""
    answers = {node: forms.NodeRooms(rooms=[room("a", 3)], total=1) for node in (A, B)}
    found = await questions(Cluster(rooms=answers)).rooms(forms.RoomsQuery())
    assert [(row.room, row.members) for row in found.rooms] == [("a", 6)]
    assert found.missing == ["one", "two"]


async def test_pages() -> None:
    cluster = Cluster()
    await questions(cluster).connections(forms.ConnectionsQuery(cursor="App/node000ax", node="two"))
    (command,) = cluster.asked
    asked = msgspec.json.decode(command.arguments, type=forms.PageOf)
    assert (asked.cursor, command.node) == (("app", "node000ax"), B)
    rows: dict[str, Rows] = {
        A: forms.NodeConnections(connections=[], places=[], following=("app", "node000ay"))
    }
    answer = await questions(Cluster(connections=rows)).connections(forms.ConnectionsQuery())
    assert (answer.next, answer.missing) == ("app/node000ay", ["two"])
