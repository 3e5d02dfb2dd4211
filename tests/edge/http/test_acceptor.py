"""What is recognised as a WebSocket in the first bytes, and what is left to the HTTP parser."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.edge.http.acceptor import read_upgrade
from moorage.edge.http.upgrade import decoded
from tests.support.examples import times
from tests.support.http_port import UPGRADE, Port
from tests.support.rawhttp import HttpConnection, request_bytes

LIMIT = 4096
PLAIN = request_bytes("GET", "/ws?a=1", UPGRADE)


def test_a_plain_upgrade() -> None:
    found = read_upgrade(PLAIN + b"early", LIMIT)
    assert found is not None
    target, headers, end = found
    assert target == "/ws?a=1"
    assert headers == {
        "host": ["127.0.0.1"],
        **{name.lower(): [value] for name, value in UPGRADE.items()},
    }
    assert PLAIN[end:] + b"early" == b"early"


@pytest.mark.parametrize(
    "changed",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "UPGRADE", "Upgrade": "WebSocket"},
        {"X-Latin": "caf\xe9"},
        {"X-Empty": ""},
        {"X-Space": " \t padded \t "},
    ],
)
def test_other_spellings(changed: dict[str, str]) -> None:
    found = read_upgrade(request_bytes("GET", "/", {**UPGRADE, **changed}), LIMIT)
    assert found is not None
    for name, value in changed.items():
        assert found[1][name.lower()] == [value.strip()]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        PLAIN[:-1],
        PLAIN.replace(b"GET", b"POST"),
        PLAIN.replace(b"GET /", b"GET http://x/"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"GET /ws", b"GET /w\xc3\xa9"),
        PLAIN.replace(b"GET /ws", b"GET  /ws"),
        PLAIN.replace(b"websocket", b"h2c"),
        PLAIN.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
        PLAIN.replace(b"Host: ", b"Host : "),
        PLAIN.replace(b"\r\nHost", b"\nHost"),
        PLAIN.replace(b"\r\nUpgrade", b"\r\n folded\r\nUpgrade"),
        PLAIN.replace(b"\r\nHost: 127", b"\r\nHost: 1\x0027"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * LIMIT + b"\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nX: x" * 100 + b"\r\n\r\n"),
    ],
)
def test_anything_else_is_left_to_the_parser(request_: bytes) -> None:
    assert read_upgrade(request_, LIMIT) is None


@given(st.binary(max_size=300), st.integers(0, len(PLAIN)))
def test_bytes_of_any_kind(noise: bytes, at: int) -> None:
    for data in (noise, PLAIN[:at] + noise, PLAIN[:at] + noise + PLAIN[at:]):
        found = read_upgrade(data, LIMIT)
        assert found is None or found[0].startswith("/")


NAMES = [b"Upgrade", b"upgrade", b"Connection", b"Host", b"X-a", b"Content-Length", b"X a", b""]
COLONS = [b":", b": ", b" :", b"\r:", b":\t "]
VALUES = [
    b"websocket",
    b"WebSocket ",
    b"Upgrade",
    b"a,\t upgrade",
    b"a:b",
    b"",
    b"\xe9\xa0 ",
    b"\x0b",
    b"a\nb",
]
PARTS = st.tuples(*map(st.sampled_from, (NAMES, COLONS, VALUES)))
LINES = st.lists(PARTS.map(b"".join), max_size=4)
MORE = st.sampled_from([[], [b"Connection: a, upgrade"], [b"Upgrade:websocket", b"Connection:Upgrade"]])


def line_by_line(lines: list[bytes]) -> dict[str, list[str]] | None:
    """The headers of an upgrade, read the slow way. Of headers that are repeated, the first one counts."""
    headers = []
    for line in lines:
        header = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)", line)
        if header is None:
            return None
        headers.append((header[1].lower(), header[2].strip()))
    first = dict(reversed(headers))
    tokens = [token.strip().lower() for token in first.get(b"connection", b"").split(b",")]
    upgrade = first.get(b"upgrade", b"").lower() == b"websocket" and b"upgrade" in tokens
    return decoded(headers) if upgrade and b"content-length" not in first else None


@settings(max_examples=times(5))
@given(LINES, MORE)
def test_headers_are_read_from_their_lines(lines: list[bytes], more: list[bytes]) -> None:
    lines = [*lines[:2], *more, *lines[2:]]
    found = read_upgrade(b"\r\n".join((b"GET /ws HTTP/1.1", *lines, b"", b"")), LIMIT)
    assert (found and found[1]) == line_by_line(lines)


async def test_a_silent_connection_is_known_until_it_ends() -> None:
    port = Port(fast=True)
    server = await port.serve()
    async with await HttpConnection.open(port.url) as http:
        while not port.acceptors:
            await asyncio.sleep(0)
        (acceptor,) = port.acceptors
        acceptor.give_up()
        assert (await http.reply()).json()["reason"] == "header-timeout"
        assert not port.acceptors
        assert port.refusals("header-timeout") == 1
    async with await HttpConnection.open(port.url):
        while not port.acceptors:
            await asyncio.sleep(0)
    while port.acceptors:
        await asyncio.sleep(0)
    server.close()


async def test_an_upgrade_in_two_pieces_is_an_upgrade() -> None:
    port = Port(fast=True)
    server = await port.serve()
    async with await HttpConnection.open(port.url) as http:
        await http.send(PLAIN[:40])
        while not port.state.connections:
            await asyncio.sleep(0)
        await http.send(PLAIN[40:])
        async with asyncio.timeout(10):
            request = await port.upgrades.get()
        assert request.query == {"a": ["1"]}
    server.close()
