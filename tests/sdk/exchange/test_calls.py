"""The request of each call, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest
import socketio.packet

from moorage.sdk.errors import UsageError
from moorage.sdk.exchange.answers import AppServer
from moorage.sdk.exchange.calls import Calls, flags_of
from moorage.sdk.exchange.inbox import Inbox
from moorage.sdk.payload import Codec
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.sdk.exchange.test_manager import Manager


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def calls(manager: Manager) -> Calls:
    inbox = Inbox(print)
    methods = (
        *("opened", "closed", "left", "upgraded", "moved", "recover", "parked", "back"),
        *("freeze", "adopt", "released", "resume", "trace"),
    )
    dispatcher: Any = type("Dispatcher", (), dict.fromkeys(methods))
    inbox.serve(dispatcher, lambda: manager.members, told=print, query=print)
    return Calls(Codec(socketio.packet.Packet), manager, inbox)


def test_acks_are_gathered_by_socket(calls: Calls) -> None:
    call = calls.emit_with_acks("ask", (1, 2), "room", None, "/", 1.5)
    assert call.make(4) == v1.Ask(4, To("/", ("room",)), 0, 1500, b'42["ask",1,2]')
    assert call.seconds > 1.5
    assert call.part is not None
    call.part(v1.Answer(4, "s1", b"430[1,2]"), 0)
    call.part(v1.Answer(4, "s2", b"nonsense"), 0)
    acks = call.result(v1.Done(4, 3, ("s3",)))
    assert (acks.answers, acks.missing) == ({"s1": (1, 2)}, ("s3", "s2"))


def test_events_between_app_servers(calls: Calls) -> None:
    assert calls.tell("news", (1,), "/a") == v1.Tell(0, "/a", 0, b'42/a,["news",1]')
    assert calls.tell_with_acks("ask", (), "/", 2).make(5) == v1.Tell(5, "/", 2000, b'42["ask"]')


def test_the_data_of_own_sockets_is_not_asked_for(calls: Calls, manager: Manager) -> None:
    manager.own.client.session["/"] = {"name": "Ada"}
    manager.own.client.environ["moorage.handshake"] = b'{"url":"/x"}'
    call = calls.fetch_sockets(None, "/", None, 1)
    assert call.make(2) == v1.Fetch(2, To("/"), 1000)
    assert call.part is not None
    rows = (
        v1.Row(manager.sid, "client", None, 0, 0, (), b"{}"),
        v1.Row("other", "client2", None, 1, 0, (), b"{}"),
    )
    call.part(v1.Sockets(2, ("me", "them"), rows, ()), 0)
    own, other = call.result(v1.Done(2, 2, ("them",)))
    assert (own.data, own.handshake["url"], own.handshake["auth"]) == ({"name": "Ada"}, "/x", "secret")
    assert (other.data, other.server_id) == ({}, "them")


def test_selections(calls: Calls) -> None:
    to = To("/", ("a",), ("b",))
    assert calls.join(["x", 1], "a", "/", "b")(1) == v1.Join(1, to, ("x", "1"))
    assert calls.leave("x", "a", "/", "b")(1) == v1.Leave(1, to, ("x",))
    assert calls.disconnect("a", "/", "b", True)(1) == v1.Disconnect(1, to, True)


def test_app_servers(calls: Calls) -> None:
    call = calls.servers()
    assert call.make(6) == v1.List(6)
    row = v1.Server("one", "azure", True, 3)
    assert call.result(v1.Servers(6, (row,))) == [AppServer("one", "azure", True, 3)]


def test_a_timeout_that_is_no_time_is_refused_before_anything_is_sent(calls: Calls) -> None:
    for wrong in (0, -1.0, 86_400):
        with pytest.raises(UsageError, match="timeout"):
            calls.fetch_sockets(None, "/", None, wrong)


def test_flags() -> None:
    assert [flags_of(volatile=v, local=n) for v, n in ((False, False), (True, False), (True, True))] == [
        0,
        v1.VOLATILE,
        v1.VOLATILE | v1.LOCAL,
    ]
