"""One connection in a row and in full."""

from __future__ import annotations

import json

from moorage.hub.hub import LINK
from moorage.hub.inspect.masking import MASK
from moorage.hub.inspect.rows import MOST, address_of, full, row
from moorage.hub.turns import finished
from moorage.wire.commands import JoinGroups, Selection
from tests.hub.fakes import HUB
from tests.hub.inspect.stage import Stage

HANDSHAKE = json.dumps(
    {
        "headers": {"user-agent": ["tester"], "cookie": ["sid=1"]},
        "query": {"EIO": ["4"], "token": ["t"]},
        "claims": {},
        "url": "/clients/socketio/hubs/app/?EIO=4&token=t",
        "address": "192.0.2.7",
        "secure": True,
    }
).encode()


def test_a_row() -> None:
    stage = Stage()
    stage.server("s1")
    client = stage.client("/", "/chat", user_id="ada")
    client.handshake = HANDSHAKE
    stage.now += 2.5
    shown = row(client, "here", stage.now)
    assert (shown.id, shown.hub, shown.user, shown.node) == (client.id, "app", "ada", "here")
    assert (shown.address, shown.transport, shown.app_server) == ("192.0.2.7", "websocket", "s1")
    assert (shown.age, shown.queued_bytes, shown.namespaces) == (2.5, 0, ["/", "/chat"])


def test_a_polling_client_with_a_queue_and_without_an_address() -> None:
    stage = Stage()
    stage.server()
    client = stage.client("/", framed=False)
    stage.send(client, b'42["x"]')
    shown = row(client, "here", stage.now)
    assert (shown.transport, shown.queued_bytes, shown.address) == ("polling", 7, "")
    assert address_of(client) == ""


def test_a_namespace_that_waits_for_its_answer_is_not_shown() -> None:
    stage = Stage()
    stage.server()
    client = stage.client("/")
    stage.node.receive(client, b"40/later,")
    assert row(client, "here", stage.now).namespaces == ["/"]
    assert [socket.namespace for socket in finished(full(client, "here", stage.now)).sockets] == ["/"]


def test_in_full() -> None:
    stage = Stage()
    stage.server()
    client = stage.client("/", "/chat", user_id="ada")
    client.handshake = HANDSHAKE
    stage.join(client, "b", "a")
    stage.join(client, "c", namespace="/chat")
    stage.execute(JoinGroups(HUB, Selection(connection=client.id), ("plain",)))
    client.hold(LINK)
    shown = finished(full(client, "here", stage.now))
    assert [(each.namespace, each.rooms, each.rooms_total) for each in shown.sockets] == [
        ("/", ["a", "b"], 2),
        ("/chat", ["c"], 1),
    ]
    assert shown.sockets[0].id == f"{client.id}/"
    assert shown.other_groups == ["plain"]
    assert (shown.path, shown.reading, shown.moving) == ("/clients/socketio/hubs/app/", False, False)
    assert shown.query == {"EIO": ["4"], "token": [MASK]}
    assert shown.headers == {"user-agent": ["tester"], "cookie": [MASK]}


def test_many_rooms_are_cut() -> None:
    stage = Stage()
    stage.server()
    client = stage.client("/")
    stage.join(client, *(f"r{number:03}" for number in range(MOST + 5)))
    (socket,) = finished(full(client, "here", stage.now)).sockets
    assert len(list(full(client, "here", stage.now))) >= 2, "in steps"
    assert (socket.rooms[-1], len(socket.rooms), socket.rooms_total) == ("r099", MOST, MOST + 5)
