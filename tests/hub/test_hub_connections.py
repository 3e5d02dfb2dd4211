"""The initial state of a connection, and its memory."""

from __future__ import annotations

import weakref

import pytest

from moorage.engine.upgrade import State
from moorage.hub.hub import BURST, LINK, AppServer, Connection
from moorage.hub.settings import Limits
from tests.hub.fakes import LEAST, RecordingLink, RecordingSink, World


def new_connection(limits: Limits) -> Connection:
    """A connection with default values."""
    world = World()
    return Connection(
        "c1",
        world.node.ensure_hub("h"),
        user_id="ada",
        server=AppServer("s", RecordingLink(), "test", LEAST),
        limits=limits,
        flusher=world.node.flusher,
        now=7.0,
    )


def test_a_new_connection() -> None:
    connection = new_connection(Limits(max_payload=11))
    assert connection.id == "c1"
    assert connection.user_id == "ada"
    assert connection.hub.name == "h"
    assert connection.opened_at == 7.0
    assert connection.groups == set()
    assert connection.channel is None
    assert connection.session.state is State.OPENING
    assert connection.session.max_payload == 11
    assert connection.outbox.owner is connection


def test_no_part_of_a_connection_has_a_dict() -> None:
    connection = new_connection(Limits())
    for part in (connection, connection.session, connection.session.peer, connection.outbox):
        assert not hasattr(part, "__dict__"), type(part).__name__
    with pytest.raises(AttributeError):
        connection.colour = "red"  # type: ignore[attr-defined]


def test_a_connection_supports_weak_references() -> None:
    connection = new_connection(Limits())
    assert weakref.ref(connection)() is connection


def test_a_paused_client_stays_paused_after_an_upgrade() -> None:
    world = World()
    world.server()
    client = world.client(framed=False)
    client.hold(LINK)
    client.hold(BURST)
    socket = RecordingSink()
    client.outbox.attach(socket, ready=True)
    assert not socket.reading
    client.release(LINK)
    assert not socket.reading
    client.release(BURST)
    assert socket.reading


def test_a_client_without_a_transport_cannot_be_paused() -> None:
    connection = new_connection(Limits())
    assert not connection.hold(LINK)
    assert not connection.held
    connection.release(LINK)
