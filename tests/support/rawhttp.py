"""HTTP by hand: a test controls every sent byte and sees every answer."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 30.0
"""Seconds after which a test stops waiting. No measurement uses it."""


def clients(hub: str) -> str:
    """The path of a hub's clients."""
    return f"/clients/socketio/hubs/{hub}/"


class Reply(NamedTuple):
    """One HTTP answer. Header names are lower-case; of repeated headers the last one is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


class HttpConnection:
    """One TCP connection. Use as `async with await HttpConnection.open(url) as http`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, base: str) -> HttpConnection:
        """Connect to the host of `base`. For https, `SSL_CERT_FILE` names the authority."""
        url = urlsplit(base)
        async with asyncio.timeout(TIMEOUT):
            tls = ssl.create_default_context() if url.scheme == "https" else None
            return cls(*await asyncio.open_connection(url.hostname, url.port, ssl=tls))

    async def __aenter__(self) -> HttpConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close it at once, because the other side may not read the bytes in transit."""
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has taken the bytes."""
        self.writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            await self.writer.drain()

    async def reply(self) -> Reply:
        """Read one answer. Raises `EOFError` if the connection ends before it."""
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            status = int(first.split(" ")[1])
            if status in (101, 204, 304):
                return Reply(status, headers, b"")
            body = await self._body(headers)
        return Reply(status, headers, body)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int((await self.reader.readline()).strip(), 16):
                parts.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return b"".join(parts)
        return await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def rest(self) -> bytes:
        """Everything until the end of the connection, which the service must close."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


def request_bytes(
    method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """A complete request. Host is added, and Content-Length if there is a body."""
    given = {"Host": "127.0.0.1", **(headers or {})}
    if body is not None:
        given.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + (body or b"")


async def fetch(
    base: str,
    target: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    """One request on a new connection."""
    host = {"Host": urlsplit(base).netloc, **(headers or {})}
    async with await HttpConnection.open(base) as http:
        await http.send(request_bytes(method, target, host, body))
        return await http.reply()


class Polling:
    """One Engine.IO client over long-polling; every request uses a new connection."""

    def __init__(
        self, base: str, path: str, query: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.base = base
        self.path = path
        self.query = query
        self.headers = headers
        self.sid = ""
        self.info: dict[str, Any] = {}

    @property
    def target(self) -> str:
        """Path and query of the session's requests."""
        sid = f"&sid={self.sid}" if self.sid else ""
        return f"{self.path}?EIO=4&transport=polling{sid}{self.query}"

    @property
    def upgrade_target(self) -> str:
        """Path and query of the session's upgrade to WebSocket."""
        return self.target.replace("transport=polling", "transport=websocket")

    async def open(self) -> Polling:
        """Request a session. A refusal fails the test."""
        reply = await fetch(self.base, self.target, headers=self.headers)
        assert reply.status == 200, reply
        assert reply.body[:1] == b"0", reply
        self.info = json.loads(reply.body[1:])
        self.sid = self.info["sid"]
        return self

    async def get(self) -> Reply:
        """One poll with any answer."""
        return await fetch(self.base, self.target, headers=self.headers)

    async def poll(self) -> str:
        """One poll that must succeed. Returns the payload."""
        reply = await self.get()
        assert reply.status == 200, reply
        return reply.text

    async def let_go(self) -> str:
        """One poll that must end the session and allow a reconnect. Returns the reason."""
        reply = await self.get()
        assert reply.status == 400, reply
        reason: str = reply.json()["reason"]
        return reason

    async def packets(self, count: int) -> list[str]:
        """Poll until `count` packets have arrived."""
        found: list[str] = []
        while len(found) < count:
            found += (await self.poll()).split("\x1e")
        return found

    async def post(self, payload: str | bytes, content_type: str = "text/plain;charset=UTF-8") -> Reply:
        """One POST with any answer."""
        body = payload.encode() if isinstance(payload, str) else payload
        headers = {**(self.headers or {}), "Content-Type": content_type}
        return await fetch(self.base, self.target, method="POST", headers=headers, body=body)

    async def send(self, payload: str | bytes) -> None:
        """One POST that must succeed."""
        reply = await self.post(payload)
        assert (reply.status, reply.body) == (200, b"ok"), reply
