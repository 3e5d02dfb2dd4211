"""Frames joined from encoded rows equal those of the codec."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.commands import Found
from moorage.wire.moorage.listing import Shared, SharedHeaders, Split, pack, sockets_frame
from moorage.wire.moorage.v1 import Headers, Row, Sockets, decode_from_service, encode_batch, encode_frame

COUNT = st.integers(0, 2**53 - 1)
NAME = st.text(max_size=300)
ROWS = st.lists(
    st.builds(
        Row,
        id=NAME,
        connection=NAME,
        user=NAME | st.none(),
        server=st.just(0),
        opened=COUNT,
        rooms=st.lists(NAME, max_size=20).map(tuple),
        handshake=st.binary(max_size=300),
        shared=st.integers(0, 3),
    ),
    max_size=20,
)
SHARED = {number: Shared(number, b"%d" % number) for number in (1, 2, 3)}


def found_of(row: Row) -> Found:
    """The socket that packs into `row`."""
    split = Split(SHARED.get(row.shared), row.handshake)
    return Found("/", row.id, row.connection, row.user, row.opened, row.rooms, split)


@given(ROWS, COUNT, NAME)
def test_a_frame_equals_that_of_the_codec(rows: list[Row], ref: int, server: str) -> None:
    known = SharedHeaders()
    found = [found_of(row) for row in rows]
    packed = [pack(one, known) for one in found]
    assert [(one.packed, one.shared) for one in found] == [
        (row, SHARED.get(one.shared)) for row, one in zip(packed, rows, strict=True)
    ]
    whole = Sockets(ref, (server,), tuple(rows), tuple(Headers(n, b"%d" % n) for n in SHARED))
    assert sockets_frame(ref, server, packed, SHARED.values()) == encode_frame(whole)


def test_more_rows_than_a_short_header_can_hold() -> None:
    for count in (15, 16, 65_535, 65_536):
        row = pack(found_of(Row("S", "C", None, 0, 1, (), b"{}")), SharedHeaders())
        frame = sockets_frame(1, "a", [row] * count, ())
        (sockets,) = decode_from_service(encode_batch(1, 0, [frame])).frames
        assert isinstance(sockets, Sockets)
        assert (len(sockets.rows), sockets.rows[-1].handshake) == (count, b"{}")


def test_split_headers_are_complete_together() -> None:
    known = SharedHeaders()
    headers = {"Host": ["no: names come in lower case"], "host": ["h"], "x-id": ["1"], "user-agent": ["A"]}
    handshake = json.dumps({"url": "/x", "headers": headers, "issued": 5}).encode()
    split = known.split(handshake)
    shared, own = split.shared, split.rest
    assert json.loads(bytes(split)) == json.loads(handshake)
    assert shared is not None
    (frame,) = decode_from_service(encode_batch(1, 0, [sockets_frame(1, "a", [], [shared])])).frames
    assert isinstance(frame, Sockets)
    (common,) = frame.headers
    assert json.loads(common.headers) == {"host": ["h"], "user-agent": ["A"]}
    rest = json.loads(own)
    assert {**rest["headers"], **json.loads(common.headers)} == headers
    assert {**rest, "headers": headers} == json.loads(handshake)
    again = known.split(handshake).shared
    assert again is shared
    assert len(known) == 1
    del shared, again, split
    assert len(known) == 0, "it goes with the last client that has it"


def test_a_handshake_without_shared_headers() -> None:
    known = SharedHeaders()
    for handshake in (b"{}", b'{"headers":{}}', b'{"headers":{"cookie":["a"]}}'):
        assert known.split(handshake) == Split(None, handshake)
    assert len(known) == 0


@pytest.mark.parametrize("handshake", [b"", b"[]", b"{", b'{"headers":1}', b"\xff"])
def test_what_is_no_handshake_is_an_empty_one(handshake: bytes) -> None:
    assert SharedHeaders().split(handshake) == Split(None, b'{"headers":{}}')
