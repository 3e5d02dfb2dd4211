"""Frames joined from packed pieces are what the codec would have made of the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.listing import listed, sockets_frame
from moorage.wire.tunnel import Row, Sockets, decode_from_service, encode_batch, encode_frame

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
        handshake=st.sampled_from([0, 1, 255, 256, 65_535, 65_536]).map(bytes),
    ),
    max_size=20,
)


def bare(row: Row) -> Row:
    """Without its handshake."""
    return Row(row.id, row.connection, row.user, row.server, row.opened, row.rooms, b"")


@given(ROWS, COUNT, NAME)
def test_as_the_codec_would(rows: list[Row], ref: int, server: str) -> None:
    pieces: list[bytes] = []
    for row in rows:
        known = listed("/", bare(row), len(row.handshake))
        assert (known.namespace, known.id) == ("/", row.id)
        pieces += (known.row, row.handshake)
    assert sockets_frame(ref, server, len(rows), pieces) == encode_frame(Sockets(ref, (server,), tuple(rows)))


def test_more_rows_than_a_short_head_tells() -> None:
    for count in (15, 16, 65_535, 65_536):
        known = listed("/", Row("S", "C", None, 0, 1, (), b""), 2)
        frame = sockets_frame(1, "a", count, [known.row, b"{}"] * count)
        (sockets,) = decode_from_service(encode_batch(1, 0, [frame])).frames
        assert isinstance(sockets, Sockets)
        assert (len(sockets.rows), sockets.rows[-1].handshake) == (count, b"{}")
