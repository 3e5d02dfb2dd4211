"""The latest ends of connections."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.inspect import endings
from moorage.hub.inspect.endings import DETAIL, MAX_ENDS, MAX_REFUSALS
from moorage.hub.ports import RefusedError
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, Origin
from moorage.wire.inspect.forms import DISCONNECTS, DisconnectRow, DisconnectsQuery, NodeDisconnects
from moorage.wire.reasons import APP_CLOSED, APP_REFUSED, SLOW_CLIENT
from tests.hub.inspect.stage import WALL, Stage


def ends(stage: Stage, **query: Any) -> list[DisconnectRow]:
    found = stage.ask(DISCONNECTS, DisconnectsQuery(**query), NodeDisconnects)
    assert found.times == [row.time for row in found.disconnects]
    return found.disconnects


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.server("s1")
    return made


def test_an_end(stage: Stage) -> None:
    client = stage.client("/", framed=False, user_id="ada")
    client.handshake = b'{"address":"192.0.2.7"}'
    stage.send(client, b'42["x"]')
    stage.now += 5
    stage.node.disconnect(client, SLOW_CLIENT, who="service", detail="x" * 1000)
    stage.now += 5
    (row,) = ends(stage)
    assert row == DisconnectRow(
        time=WALL + stage.now - 5,
        id=client.id,
        opened=True,
        hub="app",
        user="ada",
        node="here",
        address="192.0.2.7",
        reason="slow-client",
        number=2000,
        meaning=SLOW_CLIENT.text,
        who="service",
        detail="x" * DETAIL,
        age=5.0,
        queued_bytes=7,
        app_server="s1",
    )


def test_a_name_that_no_encoder_takes_is_shown_all_the_same(stage: Stage) -> None:
    for user in ("ada\ud800", None):
        stage.node.disconnect(stage.client("/", user_id=user), SLOW_CLIENT, who="service", detail="\udfff")
    assert [(row.user, row.detail) for row in ends(stage)] == [(None, "?"), ("ada?", "?")]


def test_the_newest_first_and_filters(stage: Stage) -> None:
    stage.server("s2", hub="zoo")
    clients = [stage.client("/", user_id=user) for user in ("ada", "bob", "ada")]
    zoo = stage.client("/", hub="zoo")
    for client in (*clients, zoo):
        stage.now += 1
        stage.node.disconnect(client, SLOW_CLIENT if client is zoo else APP_CLOSED, who="app")
    order = [each.id for each in (zoo, *reversed(clients))]
    assert [row.id for row in ends(stage)] == order
    assert [row.id for row in ends(stage, limit=2)] == order[:2]
    assert [row.id for row in ends(stage, user="ada")] == [clients[2].id, clients[0].id]
    assert [row.id for row in ends(stage, hub="ZOO")] == [zoo.id]
    assert [row.id for row in ends(stage, reason="slow-client")] == [zoo.id]
    assert [row.id for row in ends(stage, connection=clients[1].id)] == [clients[1].id]


def test_refusals(stage: Stage) -> None:
    ada = Handshake(query={}, headers={}, user_id="ada", origin=lambda: Origin("/", "192.0.2.7"))
    stage.node.observer.refused("app", ada, PeerError(APP_REFUSED, "no"))
    stage.node.draining = True
    with pytest.raises(RefusedError):
        stage.client()
    draining, refused = ends(stage)
    assert (draining.reason, draining.who, draining.opened, draining.id) == ("draining", "service", False, "")
    assert (refused.who, refused.user, refused.address, refused.detail) == ("app", "ada", "192.0.2.7", "no")


def test_the_oldest_are_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals do not push ends out."""
    client = stage.client("/")
    stage.node.disconnect(client, APP_CLOSED, who="app")
    nobody = Handshake(query={}, headers={})
    for _ in range(MAX_REFUSALS + 10):
        stage.node.observer.refused("app", nobody, PeerError(APP_REFUSED))
    assert len(ends(stage, reason="app-refused", limit=500)) == 500
    assert len(ends(stage, reason="app-closed")) == 1
    assert MAX_ENDS > MAX_REFUSALS


def test_a_list_is_made_in_steps(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(100):
        stage.node.observer.refused("app", Handshake(query={}, headers={}), PeerError(APP_REFUSED))
    monkeypatch.setattr(endings, "STEP", 10)
    assert stage.steps(DISCONNECTS, DisconnectsQuery(user="ada")) >= 10
