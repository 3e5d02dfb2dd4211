"""Rows of `FetchSockets` between nodes: the same socket on the other side, with all of its headers."""

from __future__ import annotations

import json

from moorage.cluster.sockets import packed, unpacked
from moorage.wire.cluster import Socket
from moorage.wire.moorage.listing import SharedHeaders, listed
from moorage.wire.moorage.rows import Row

HANDSHAKE = {"headers": {"user-agent": "browser", "cookie": "c=1"}, "query": {"a": "1"}, "claims": {}}


def test_a_row_gets_its_shared_headers_back() -> None:
    shared, rest = SharedHeaders().split(json.dumps(HANDSHAKE).encode())
    row = listed("/", Row("sid", "c1", "ada", 0, 10**12, ("r",), rest), shared, 3)
    (socket,) = unpacked([row])
    assert json.loads(socket.handshake) == HANDSHAKE
    assert (socket.id, socket.connection, socket.user, socket.opened, socket.rooms) == (
        "sid", "c1", "ada", 10**12, ("r",),
    )  # fmt: skip


def test_a_row_that_travels_twice_is_the_same() -> None:
    socket = Socket("sid", "c1", None, 5, (), b'{"headers":{}}')
    (row,) = packed("/chat", [socket])
    assert (row.namespace, row.id, row.shared) == ("/chat", "sid", None)
    assert unpacked([row]) == (socket,)
