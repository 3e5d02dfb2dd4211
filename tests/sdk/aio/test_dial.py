"""Dialling: the token, and what is found at the other end, each told apart by a real connection."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from picows import WSListener

from moorage.sdk.aio.dial import dial, sign
from moorage.sdk.aio.websocket import LinkSocket
from moorage.sdk.errors import LinkRefused, LinkUnavailable
from moorage.wire.connection_string import parse
from tests.sdk.service_peer import ServicePeer
from tests.support.service import MoorageProcess


def socket() -> LinkSocket:
    """A WebSocket for nobody."""
    return LinkSocket(lambda *_: None, lambda *_: None, lambda: None)


async def dialled(connection_string: str, hub: str = "app", context: ssl.SSLContext | None = None) -> None:
    """Dial and hang up."""
    made = socket()
    await dial(parse(connection_string), hub, "me", lambda: made, ssl_context=context)
    made.break_off()


@asynccontextmanager
async def answering(answer: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Somebody who answers everything with these bytes; a connection string."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            head, found, body = answer.partition(b"\r\n\r\n")
            writer.write(head + found)
            await writer.drain()
            # The body in a packet of its own, as many servers send it.
            await asyncio.sleep(0.02)
            writer.write(body)
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    yield f"Endpoint={'https' if context else 'http'}://127.0.0.1:{port};AccessKey=key;"
    server.close()


def test_the_token() -> None:
    now = time.time()
    token = sign("a key of enough bytes for its own good", audience="ws://x/y?hub=app", subject="me", now=now)
    claims = jwt.decode(
        token, "a key of enough bytes for its own good", algorithms=["HS256"], audience="ws://x/y?hub=app"
    )
    assert claims == {"sub": "me", "aud": "ws://x/y?hub=app", "iat": int(now), "exp": int(now) + 600}


async def test_a_real_service(service: MoorageProcess) -> None:
    await dialled(service.connection_string)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: re.sub("AccessKey=[^;]*", "AccessKey=wrong", text), "3003 token-signature"),
        (lambda text: text.replace("127.0.0.1", "localhost"), ""),
    ],
)
async def test_wrong_strings(service: MoorageProcess, change: Callable[[str], str], told: str) -> None:
    if not told:
        await dialled(change(service.connection_string))
        return
    with pytest.raises(LinkRefused, match=told):
        await dialled(change(service.connection_string))


@pytest.mark.repair(30)
async def test_an_audience_that_the_service_does_not_know() -> None:
    body = b'{"number":3006,"reason":"token-audience","message":"it names x, expected y"}'
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with answering(answer) as text:
        with pytest.raises(LinkRefused, match=r"3006 token-audience.*expected y.*public_endpoint"):
            await dialled(text)


async def test_clocks_apart(service: MoorageProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for drift, told in ((-7200, "3004 token-expired"), (7200, "3005 token-not-yet")):
        monkeypatch.setattr("moorage.sdk.aio.dial.time.time", lambda drift=drift: now + drift)
        with pytest.raises(LinkRefused, match=rf"{told}.*The clocks of this machine"):
            await dialled(service.connection_string)


async def test_a_hub_that_is_not_there() -> None:
    with (
        MoorageProcess(
            *_set("default_hub=only", "hubs.only.anonymous=true", "allow_unlisted_hubs=false")
        ) as service,
        pytest.raises(LinkRefused, match="2107 unknown-hub"),
    ):
        await dialled(service.connection_string, "other")


def _set(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 2\r\n\r\nno",
            LinkRefused,
            "404 \\(nginx\\)",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", LinkUnavailable, "HTTP 502"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: two\r\n\r\nno", LinkUnavailable, "HTTP 502"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://y/\r\nContent-Length: 0\r\n\r\n",
            LinkRefused,
            "redirects to",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", LinkRefused, "does not answer like a web server"),
        (b"", LinkUnavailable, "cannot reach"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 55\r\n\r\n"
            b'{"number":2107,"reason":"unknown-hub","message":"no"}  ',
            LinkRefused,
            "2107 unknown-hub: no",
        ),
        (
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'31\r\n{"number":1100,"reason":"draining","message":"x"}\r\n0\r\n\r\n',
            LinkUnavailable,
            "1100 draining: x",
        ),
    ],
)
async def test_other_answers(answer: bytes, kind: type[Exception], told: str) -> None:
    async with answering(answer) as text:
        with pytest.raises(kind, match=told):
            await dialled(text)


async def test_a_websocket_server_of_another_kind() -> None:
    peer = ServicePeer()
    peer.subprotocols = []
    async with peer:
        with pytest.raises(LinkRefused, match=r"without the subprotocol moorage\.v1"):
            await dialled(peer.connection_string)


async def test_https_to_a_plain_server(service: MoorageProcess) -> None:
    with pytest.raises(LinkRefused, match="no TLS connection"):
        await dialled(service.connection_string.replace("http://", "https://"))


async def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    )
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    async with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", server) as text:
        with pytest.raises(LinkRefused, match=r"no TLS connection.*ssl_context"):
            await dialled(text)
        knows = ssl.create_default_context(cafile=str(certificate))
        with pytest.raises(LinkRefused, match="HTTP 404"):
            await dialled(text, context=knows)


async def test_a_silent_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.sdk.aio.dial.CONNECT_SECONDS", 0.2)
    never = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LinkUnavailable, match="does not answer in time"):
        await dialled(f"Endpoint=http://127.0.0.1:{port};AccessKey=key;")
    never.set()
    server.close()


async def test_a_name_that_nobody_has() -> None:
    with pytest.raises(LinkUnavailable, match=r"cannot reach http://no-such-host\.invalid"):
        await dialled("Endpoint=http://no-such-host.invalid;AccessKey=key;")


@pytest.mark.repair(31)
@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize(("status", "told"), [(200, LinkRefused), (404, LinkRefused), (502, LinkUnavailable)])
async def test_another_web_server(protocol: str, status: int, told: type[Exception]) -> None:
    """Whatever version of HTTP it speaks, it is named as what it is."""
    head = f"{protocol} {status} X\r\nContent-Type: text/html\r\nServer: other\r\nContent-Length: 2\r\n\r\nhi"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        target = parse(f"Endpoint=http://127.0.0.1:{port};AccessKey=k;")
        with pytest.raises(told, match=rf"HTTP {status} \(text/html, other\)"):
            await dial(target, "app", "me", WSListener)
