"""PROXY headers: as a whole, split at every byte, and with anything in them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.edge.tcp.header import MAX_REST, SIGNATURE, ProxyHeader, Source, proxy_header
from moorage.wire.errors import PeerError

HAPROXY = bytes.fromhex("0d0a0d0a000d0a515549540a2111000c c0000207 7f000001 1267 1f90".replace(" ", ""))
"""What haproxy 2.6 sends for a client at 192.0.2.7:4711."""

sources = st.builds(
    Source,
    st.ip_addresses().map(lambda found: str(ipaddress.ip_address(found.packed))),
    st.integers(0, 65_535),
)


def read(data: bytes, *, step: int = 0) -> tuple[Source | None, bytes]:
    """The client and what follows the header, as one connection feeds it."""
    header = ProxyHeader()
    while size := header.wanted:
        part = data[: min(size, step or size)]
        assert part, "not complete"
        header.feed(part)
        data = data[len(part) :]
    return header.source, data


def test_a_real_header() -> None:
    assert read(HAPROXY + b"GET /") == (Source("192.0.2.7", 4711), b"GET /")


@given(sources, st.binary(max_size=20), st.integers(1, 40))
def test_round_trip_in_pieces(source: Source, rest: bytes, step: int) -> None:
    assert read(proxy_header(source) + rest, step=step) == (source, rest)


def test_a_header_that_the_service_writes() -> None:
    for source in (Source("192.0.2.7", 4711), Source("2001:db8::7", 65_535)):
        assert read(proxy_header(source) + b"x") == (source, b"x")


def test_split_at_every_byte() -> None:
    for step in range(1, len(HAPROXY) + 1):
        assert read(HAPROXY + b"x", step=step) == (Source("192.0.2.7", 4711), b"x")


@pytest.mark.parametrize("change", [b"\x20\x11", b"\x20\x00", b"\x21\x00", b"\x21\x31"])
def test_headers_that_name_nobody(change: bytes) -> None:
    data = HAPROXY[:12] + change + HAPROXY[14:]
    assert read(data + b"x") == (None, b"x")


def test_further_fields_are_skipped() -> None:
    more = b"\x04\x00\x03abc"
    data = HAPROXY[:14] + (12 + len(more)).to_bytes(2, "big") + HAPROXY[16:] + more
    assert read(data + b"x") == (Source("192.0.2.7", 4711), b"x")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "does not begin"),
        (b"PROXY TCP4 192.0", "send-proxy-v2"),
        (b"\r\n\r\nGET / HTTP/1", "does not begin"),
        (SIGNATURE + b"\x31\x11\x00\x0c", "unknown version"),
        (SIGNATURE + b"\x22\x11\x00\x0c", "unknown version"),
        (SIGNATURE + b"\x21\x11" + (MAX_REST + 1).to_bytes(2, "big"), "longer"),
        (SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11), "too short"),
        (SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12), "too short"),
    ],
)
def test_what_is_refused(data: bytes, told: str) -> None:
    for step in (0, 1):
        with pytest.raises(PeerError, match=told):
            read(data, step=step)


@given(st.binary(max_size=60))
def test_anything_is_a_value_or_a_refusal(data: bytes) -> None:
    for given_ in (data, SIGNATURE + data):
        header = ProxyHeader()
        try:
            while header.wanted and given_:
                part = given_[: header.wanted]
                header.feed(part)
                given_ = given_[len(part) :]
        except PeerError:
            assert header.source is None
