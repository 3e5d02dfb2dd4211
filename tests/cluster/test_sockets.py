"""Sockets of `FetchSockets` between nodes: the same socket on the other side, with all of its headers."""

from __future__ import annotations

import json

import pytest

from moorage.cluster.sockets import incoming, outgoing
from moorage.wire.cluster.messages import Socket
from moorage.wire.commands import Found
from moorage.wire.moorage.listing import SharedHeaders, pack

HANDSHAKE = {"headers": {"user-agent": "browser", "cookie": "c=1"}, "query": {"a": "1"}, "claims": {}}


def test_a_packed_socket_gets_its_shared_headers_back() -> None:
    headers = SharedHeaders()
    found = Found("/", "sid", "c1", "ada", 10**12, ("r",), json.dumps(HANDSHAKE).encode(), 3)
    pack(found, headers)
    assert found.shared is not None
    (socket,) = outgoing([found])
    assert json.loads(socket.handshake) == HANDSHAKE
    assert (socket.id, socket.connection, socket.user, socket.opened, socket.rooms) == (
        "sid", "c1", "ada", 10**12, ("r",),
    )  # fmt: skip


def test_a_socket_that_travels_twice_is_the_same() -> None:
    socket = Socket("sid", "c1", None, 5, (), b'{"headers":{}}')
    (found,) = incoming("/chat", [socket])
    assert (found.namespace, found.id, found.packed) == ("/chat", "sid", None)
    assert outgoing([found]) == (socket,)


@pytest.mark.parametrize(
    "handshake",
    [b"", b"{", b"[]", b"null", b"7", b'{"headers":[1]}', b'{"headers":null}', b"\xff", b"[" * 100_000],
    ids=lambda value: repr(value)[:20],
)
def test_a_handshake_that_is_none_does_not_reach_the_app_server(handshake: bytes) -> None:
    (found,) = incoming("/", [Socket("sid", "c1", None, 5, (), handshake)])
    pack(found, SharedHeaders())
    assert bytes(found.handshake) == b'{"headers":{}}'
