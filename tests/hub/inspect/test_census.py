"""What the census counts is what the hubs hold."""

from __future__ import annotations

from moorage.wire.reasons import APP_CLOSED
from tests.hub.inspect.stage import Stage


def test_it_follows_the_hubs() -> None:
    stage = Stage()
    stage.server()
    stage.server(hub="Other")
    first, second = stage.client("/", "/chat"), stage.client("/")
    assert len(stage.census.hubs["app"]) == 2
    assert stage.census.sockets["app"] == 3
    stage.node.receive(first, b"41/chat,")
    assert stage.census.sockets["app"] == 2
    stage.node.disconnect(first, APP_CLOSED, who="app")
    assert [id for id, _ in stage.census.hubs["app"].batch("", 10)] == [second.id]
    stage.node.disconnect(second, APP_CLOSED, who="app")
    assert (stage.census.hubs, stage.census.sockets) == ({}, {})


def test_a_refused_client_is_not_counted() -> None:
    stage = Stage()
    stage.node.draining = True
    stage.server()
    try:
        stage.client()
    except Exception as error:
        assert "draining" in str(error)
    assert stage.census.hubs == {}
