"""What the calls that ask several others give back."""

from __future__ import annotations

import datetime

import socketio.packet

from moorage.sdk.exchange.answers import AckCollector, RemoteSocket, SocketCollector, one_value
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Answer, Asked, Chunk, Data, Headers, Row, Sockets


def row(name: str, server: int = 0, handshake: bytes = b'{"url":"/x"}') -> Row:
    """A socket of some client."""
    return Row(name, f"c{name}", "ann", server, 1_600_000_000_500, ("room",), handshake)


def test_one_value() -> None:
    assert (one_value([]), one_value([1]), one_value([1, 2])) == (None, 1, (1, 2))


def test_acks() -> None:
    collector = AckCollector(Codec(socketio.packet.Packet))
    collector.part(Asked(1, 3))
    collector.part(Answer(1, "a", b'431["x",2]'))
    collector.part(Answer(1, "b", b"430[]"))
    collector.part(Answer(1, "c", b"junk"))
    acks = collector.result(("d",))
    assert (acks.answers, acks.missing, len(acks)) == ({"a": ("x", 2), "b": None}, ("d", "c"), 2)


def test_sockets() -> None:
    collector = SocketCollector("/")
    collector.part(Sockets(1, ("one", "two"), (row("a"), row("b", 1))))
    collector.part(Asked(1, 2))
    collector.part(Sockets(1, ("three",), (row("c"),)))
    facts = b'[{"data":{"x":1},"auth":{"t":2},"left_out":{"data.y":"set"}}]'
    collector.part(Data(1, "two", (Chunk(1, facts),)))
    found = collector.result(("three",))
    assert [(socket.id, socket.server_id) for socket in found] == [("a", "one"), ("b", "two"), ("c", "three")]
    assert (len(found), found[1].id, found.missing) == (3, "b", ("three",))
    b = found[1]
    assert (b.data, b.handshake, b.left_out) == ({"x": 1}, {"url": "/x", "auth": {"t": 2}}, {"data.y": "set"})
    assert (b.rooms, b.user_id, b.connection_id) == ({"b", "room"}, "ann", "cb")
    assert b.connected_at == datetime.datetime(2020, 9, 13, 12, 26, 40, 500000, datetime.UTC)
    assert (found[0].data, found[0].handshake["auth"], found[0].left_out) == ({}, None, {})


def test_data_that_comes_in_parts() -> None:
    collector = SocketCollector("/")
    collector.part(Data(1, "one", (Chunk(1, b'[{"data":0}]'),)))
    collector.part(Sockets(1, ("one",), tuple(row(str(n)) for n in range(4))))
    collector.part(Data(1, "one", (Chunk(1, b'[{"data":1}]'), Chunk(2, b'[{"data":2},{"data":3}]'))))
    assert [socket.data for socket in collector.result(())] == [0, 1, 2, 3]


def test_shared_headers() -> None:
    collector = SocketCollector("/")
    rows = [row(name, handshake=b'{"headers":{"cookie":["c"]}}') for name in "ab"]
    rows[0].shared = 7
    collector.part(Sockets(1, ("one",), tuple(rows), (Headers(7, b'{"host":["h"]}'),)))
    a, b = collector.result(())
    assert a.handshake["headers"] == {"cookie": ["c"], "host": ["h"]}
    assert b.handshake["headers"] == {"cookie": ["c"]}
    assert RemoteSocket(rows[0], "/", "one", lambda: None, b"{").handshake["headers"] == {"cookie": ["c"]}


def test_junk_from_an_app_server_is_nothing() -> None:
    for junk in (b"{", b"[]", b"1", b"[1]", b"[{}]"):
        collector = SocketCollector("/")
        collector.part(Sockets(1, ("one",), (row("a"), row("b"))))
        collector.part(Data(1, "one", (Chunk(2, junk),)))
        assert [socket.data for socket in collector.result(())] == [{}, {}]
    silent = RemoteSocket(row("a", handshake=b"{"), "/", "one", lambda: None)
    assert silent.handshake == {"auth": None}
