"""The inspector answers for this node, and refuses what it cannot read."""

from __future__ import annotations

import msgspec
import pytest

from moorage.hub.inspect.inspector import STEP
from moorage.hub.settings import HubSettings
from moorage.hub.turns import finished
from moorage.wire.commands import Inspect
from moorage.wire.errors import PeerError
from moorage.wire.inspect.forms import (
    APPS,
    CONNECTION,
    HUBS,
    AppsQuery,
    ConnectionFull,
    ConnectionQuery,
    HubRow,
    NodeApps,
    NodeHubs,
    NodeLoad,
    Question,
)
from moorage.wire.reasons import API_BAD_ARGUMENT
from tests.hub.inspect.stage import Stage


def test_hubs() -> None:
    stage = Stage()
    stage.server()
    stage.server("s2", hub="Zoo")
    client = stage.client("/", "/chat")
    stage.join(client, "r")
    stage.client("/")
    assert stage.ask(HUBS, Question(), NodeHubs).hubs == [
        HubRow(name="app", connections=2, sockets=3, rooms=1, app_servers=1, messages_in=3, messages_out=3),
        HubRow(name="Zoo", app_servers=1),
    ]


def test_app_servers() -> None:
    stage = Stage()
    server, _ = stage.server()
    stage.server("s2", hub="zoo")
    server.sdk, server.address, server.since = "sdk/1", "192.0.2.7", stage.now - 3
    stage.client("/")
    server.draining = True
    first, second = stage.ask(APPS, AppsQuery(), NodeApps).apps
    assert (first.hub, first.id, first.dialect, first.sdk) == ("app", "s1", "test", "sdk/1")
    assert (first.address, first.clients, first.up, first.draining, first.age) == (
        "192.0.2.7",
        1,
        True,
        True,
        3.0,
    )
    assert (first.node, second.hub) == ("here", "zoo")
    assert [row.id for row in stage.ask(APPS, AppsQuery(hub="ZOO"), NodeApps).apps] == ["s2"]


def test_an_app_server_that_is_away_is_not_behind() -> None:
    stage = Stage()
    server, _ = stage.server()
    server.behind = True
    for up in (True, False):
        server.up = up
        (row,) = stage.ask(APPS, AppsQuery(), NodeApps).apps
        assert (row.up, row.behind) == (up, up)


def test_a_connection_in_any_hub() -> None:
    stage = Stage()
    stage.server()
    stage.server("s2", hub="zoo")
    client = stage.client("/", hub="zoo")
    found = stage.ask(CONNECTION, ConnectionQuery(id=client.id), ConnectionFull)
    assert (found.id, found.hub) == (client.id, "zoo")


def test_an_unknown_connection_gives_no_report() -> None:
    stage = Stage()
    stage.server()
    outcome = stage.execute(Inspect("", CONNECTION, b'{"id":"x"}'))
    assert (outcome.found, outcome.reports) == (False, ())


def test_an_unknown_question_gives_no_report() -> None:
    assert Stage().execute(Inspect("", "of-a-newer-node")).reports == ()


@pytest.mark.parametrize("arguments", [b"", b"[]", b'{"id":1}', b"{", b"\xff", b"[" * 100_000])
def test_arguments_that_cannot_be_read(arguments: bytes) -> None:
    with pytest.raises(PeerError) as refused:
        finished(Stage().inspector.inspect(CONNECTION, arguments))
    assert refused.value.reason is API_BAD_ARGUMENT


def test_parts_of_the_service_answer_too() -> None:
    stage = Stage()
    stage.inspector.add("load", Question, lambda _: NodeLoad(cpu=0.5))
    body = finished(stage.inspector.inspect("load", b"{}"))
    assert msgspec.json.decode(body, type=NodeLoad).cpu == 0.5


def test_parked_sockets_are_counted() -> None:
    stage = Stage(hubs={"app": HubSettings()})
    stage.server()
    assert stage.ask(HUBS, Question(), NodeHubs).hubs[0].parked == 0


def test_many_hubs_and_app_servers_are_listed_in_steps() -> None:
    stage = Stage()
    for number in range(2 * STEP):
        stage.server(hub=f"hub{number}")
    assert stage.steps(HUBS, Question()) >= 2
    assert stage.steps(APPS, AppsQuery()) >= 2
    assert stage.steps(APPS, AppsQuery(hub="none")) >= 2
    assert len(stage.ask(HUBS, Question(), NodeHubs).hubs) == 2 * STEP
