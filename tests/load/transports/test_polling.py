"""Long-polling: whatever the server answers, the client joins or is lost with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.load.servers import Server
from tests.load.stages import staged
from tests.load.transports.raw import raw_server

HELLO = b'0{"sid":"a b","upgrades":[],"pingInterval":1000,"pingTimeout":500,"maxPayload":1000}'

ONE: dict[str, Any] = {"clients": 1, "transport": "polling", "timeout": 20.0}


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_packets_that_wait_go_out_together(server: Server) -> None:
    async with staged("echo", server.url, clients=1, transport="polling", outstanding=50) as stage:
        figures = await stage.play(0.2)
        assert figures["received"] == figures["sent"] >= 50


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (response(b"no", b"404 Not Found"), "HTTP 404 no"),
        (response(b"", b"503 Busy"), "HTTP 503"),
        (response(b"<html>"), "unexpected packet: b'<html>'"),
        (response(b""), "empty packet"),
        (response(b"0{}"), "unexpected packet: the Engine.IO handshake lacks"),
    ],
)
async def test_a_wrong_first_answer(first: bytes, reason: str) -> None:
    async with raw_server(lambda head: first) as url, staged("idle", url, **ONE) as stage:
        await stage.scenario.prepare()
        (error,) = stage.stage.tally.report(0, 0).errors
        assert reason in error


@pytest.mark.parametrize(
    ("poll", "post", "reason"),
    [
        (response(b"gone", b"400 Bad Request"), response(b"ok"), "HTTP 400 gone"),
        (response(b"\x1e\x1e"), response(b"ok"), "empty packet"),
        (response(b"6"), response(b"no", b"413 Too Large"), "HTTP 413 no"),
        (None, response(b"ok"), "the connection broke"),
    ],
)
async def test_a_wrong_later_answer(poll: bytes | None, post: bytes, reason: str) -> None:
    def answer(head: bytes) -> bytes | None:
        if head.startswith(b"POST"):
            return post
        return poll if b"sid=a%20b" in head else response(HELLO)

    async with raw_server(answer) as url, staged("idle", url, **ONE) as stage:
        await stage.scenario.prepare()
        assert any(reason in error for error in stage.stage.tally.report(0, 0).errors)


async def test_a_polite_end(server: Server) -> None:
    async with staged("idle", server.url, clients=3, transport="polling") as stage:
        await stage.scenario.prepare()
        for client in stage.scenario.clients:
            client.close()
        assert stage.figures["disconnects"] == 0
