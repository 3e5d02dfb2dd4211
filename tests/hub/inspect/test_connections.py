"""Pages of connections: complete, without repetitions, bounded, and filtered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moorage.hub.inspect import connections
from moorage.hub.inspect.buckets import Buckets
from moorage.hub.turns import finished
from moorage.wire.inspect.forms import CONNECTIONS, ConnectionsQuery, NodeConnections, PageOf
from moorage.wire.reasons import APP_CLOSED
from tests.hub.inspect.stage import OWN, Stage


def page(stage: Stage, cursor: tuple[str, str] = ("", ""), **query: Any) -> NodeConnections:
    question = PageOf(query=ConnectionsQuery(**query), cursor=cursor)
    return stage.ask(CONNECTIONS, question, NodeConnections)


def pages(stage: Stage, **query: Any) -> Iterator[NodeConnections]:
    cursor: tuple[str, str] | None = ("", "")
    while cursor is not None:
        found = page(stage, cursor, **query)
        yield found
        cursor = found.following


def ids(stage: Stage, **query: Any) -> list[str]:
    return [row.id for found in pages(stage, **query) for row in found.connections]


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.server("s1")
    return made


def test_no_connections(stage: Stage) -> None:
    assert page(stage) == NodeConnections(connections=[], places=[], following=None)
    assert page(stage, hub="nobody").connections == []


@pytest.mark.parametrize("limit", [1, 3, 10, 200])
def test_pages_hold_each_connection_once(stage: Stage, limit: int) -> None:
    stage.server("s2", hub="Zoo")
    expected = {each.id for each in stage.crowd(10)}
    expected |= {stage.client("/", hub="Zoo").id for _ in range(4)}
    found = list(pages(stage, limit=limit))
    assert all(len(each.connections) <= limit for each in found)
    rows = [row.id for each in found for row in each.connections]
    assert len(rows) == len(expected) and set(rows) == expected
    places = [place for each in found for place in each.places]
    assert places == sorted(places, key=lambda place: place[0])
    assert [place[1] for place in places] == rows


def test_a_page_goes_on_although_its_cursor_is_gone(stage: Stage) -> None:
    everyone = stage.crowd(10)
    first = page(stage, limit=4)
    assert first.following is not None
    for each in everyone:
        if each.id in {row.id for row in first.connections}:
            stage.node.disconnect(each, APP_CLOSED, who="app")
    rest = page(stage, first.following, limit=200)
    assert {row.id for row in rest.connections} == {each.id for each in everyone} - {
        row.id for row in first.connections
    }


def test_cursors_of_other_nodes(stage: Stage) -> None:
    """Pages are ordered by hub, then by node: what is before the cursor is not repeated."""
    stage.crowd(2)
    assert len(page(stage, ("app", "node0000x")).connections) == 2
    assert len(page(stage, ("app", "node0002x")).connections) == 0
    assert len(page(stage, ("aaa", "node0002x")).connections) == 2
    assert len(page(stage, ("zoo", "node0000x")).connections) == 0
    assert OWN < "node0002"


def test_conditions(stage: Stage) -> None:
    stage.server("s2", hub="zoo")
    ada, bob, eve = stage.client("/", user_id="ada"), stage.client("/", "/chat"), stage.client("/")
    zoo = stage.client("/", hub="zoo")
    stage.join(ada, "r")
    stage.join(bob, "r", namespace="/chat")
    stage.now += 10
    young = stage.client(user_id="ada")
    eve.handshake = b'{"address":"192.0.2.7"}'
    assert set(ids(stage, user="ada")) == {ada.id, young.id}
    assert ids(stage, room="r") == [ada.id]
    assert ids(stage, room="r", namespace="/chat") == [bob.id]
    assert ids(stage, namespace="/chat") == [bob.id]
    assert ids(stage, hub="ZOO") == [zoo.id]
    assert ids(stage, app_server="s2") == [zoo.id]
    assert ids(stage, app_server="none") == []
    assert ids(stage, max_age=5) == [young.id]
    assert set(ids(stage, min_age=5)) == {ada.id, bob.id, eve.id, zoo.id}
    assert ids(stage, address="192.0.2.7") == [eve.id]
    assert ids(stage, user="ada", room="r") == [ada.id]
    assert ids(stage, user="ada", max_age=5) == [young.id]
    assert ids(stage, min_queued=1) == []


def test_queued_bytes(stage: Stage) -> None:
    slow = stage.client("/", framed=False)
    stage.client("/", framed=False)
    stage.send(slow, b'42["x"]')
    assert ids(stage, min_queued=7) == [slow.id]
    assert ids(stage, min_queued=8) == []


def test_pages_of_an_index(stage: Stage) -> None:
    mine = {each.id for each in stage.crowd(7, user_id="ada")}
    stage.crowd(3)
    found = ids(stage, user="ada", limit=2)
    assert len(found) == 7 and set(found) == mine


def test_an_app_server_with_one_name_here_and_elsewhere(stage: Stage) -> None:
    mine = stage.client("/")
    other, _ = Stage().server("s1")
    other.node = "node0002"
    stage.hub().servers.elsewhere.add(other)
    assert ids(stage, app_server="s1") == [mine.id]


def test_a_search_is_bounded_and_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_LOOKED", 4)
    everyone = stage.crowd(10)
    everyone[7].handshake = b'{"address":"192.0.2.7"}'
    found = list(pages(stage, address="192.0.2.7"))
    assert [each.limited for each in found[:-1]] == [True] * (len(found) - 1)
    assert len(found) == 3
    assert [row.id for each in found for row in each.connections] == [everyone[7].id]


def test_a_large_index_entry_is_not_copied(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FEW", 2)
    mine = {each.id for each in stage.crowd(5, user_id="ada")}
    assert set(ids(stage, user="ada", limit=2)) == mine


def test_steps(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search looks at a few connections in each step, and makes a few rows."""
    monkeypatch.setattr(connections, "STEP", 10)
    monkeypatch.setattr(connections, "ROWS", 5)
    stage.crowd(60, user_id="ada")
    roster = stage.steps(CONNECTIONS, PageOf(query=ConnectionsQuery(address="192.0.2.7")))
    index = stage.steps(CONNECTIONS, PageOf(query=ConnectionsQuery(user="ada", limit=200)))
    assert roster >= 4
    assert index >= 6 + 11


def test_a_hub_may_end_during_a_search(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STEP", 1)
    stage.server("s2", hub="zoo")
    stage.client("/", hub="zoo")
    everyone = stage.crowd(5)
    job = connections.Page(
        stage.node, stage.census, "here", ConnectionsQuery(address="192.0.2.7"), ("", "")
    ).gather()
    next(job)
    for server in stage.hub().servers.all():
        stage.node.drop_server(stage.hub(), server)
    stage.settle()
    zoo = stage.hub("zoo")
    for server in zoo.servers.all():
        stage.node.drop_server(zoo, server)
    stage.settle()
    assert all(not each.groups for each in everyone)
    assert finished(job).connections == []


def test_a_hub_may_end_between_its_turn_and_its_search(stage: Stage) -> None:
    """The census is told of the last client before the hub is deleted, so it names no hub that is gone. A
    node that is drained in between has none."""
    stage.census.hubs["gone"] = stage.census.hubs.get("app") or Buckets()
    assert page(stage, hub="gone").connections == []
