"""WebSocket by hand: a test controls every bit of a frame and sees every answer."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.rawhttp import TIMEOUT, HttpConnection, Reply, request_bytes

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    """One frame from the service."""

    opcode: int
    payload: bytes


class Ended(NamedTuple):
    """The end of a WebSocket by the service: 1006 if it sent no close frame."""

    code: int
    reason: str


MASK = b"\x37\xfa\x21\x3d"
"""The mask of RFC 6455's examples. It is fixed, so parametrized tests have the same ids in every process."""


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    size: int | None = None,
) -> bytes:
    """One frame of a client. `size` announces a length other than the payload's."""
    announced = len(payload) if size is None else size
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if announced < 126:
        head += bytes([mask_bit | announced])
    elif announced < 0x10000:
        head += bytes([mask_bit | 126]) + announced.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + announced.to_bytes(8, "big")
    if not masked:
        return head + payload
    stream = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + MASK + whole.to_bytes(len(payload), "big")


class WebSocket:
    """One WebSocket. Use as `async with await WebSocket.open(url, target) as socket`."""

    def __init__(self, http: HttpConnection) -> None:
        self.http = http
        self.info: dict[str, Any] = {}
        """The open packet, where `session` has read it."""

    @classmethod
    async def ask(
        cls, base: str, target: str, headers: Mapping[str, str] | None = None
    ) -> tuple[WebSocket, Reply]:
        """Request an upgrade; the answer may be a refusal."""
        http = await HttpConnection.open(base)
        given = {
            "Host": urlsplit(base).netloc,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **(headers or {}),
        }
        await http.send(request_bytes("GET", target, given))
        return cls(http), await http.reply()

    @classmethod
    async def open(cls, base: str, target: str, headers: Mapping[str, str] | None = None) -> WebSocket:
        """An upgrade that must succeed."""
        socket, reply = await cls.ask(base, target, headers)
        assert reply.status == 101, reply
        return socket

    @classmethod
    async def refused(cls, base: str, target: str, headers: Mapping[str, str] | None = None) -> Reply:
        """An upgrade that must not succeed. Returns the refusal."""
        socket, reply = await cls.ask(base, target, headers)
        async with socket:
            assert reply.status != 101
            return reply

    @classmethod
    async def session(
        cls, base: str, path: str, query: str = "", headers: Mapping[str, str] | None = None
    ) -> WebSocket:
        """A new Engine.IO session; its open packet is in `info`."""
        socket = await cls.open(base, f"{path}?EIO=4&transport=websocket{query}", headers)
        packet = await socket.text()
        assert packet[0] == "0", packet
        socket.info = json.loads(packet[1:])
        return socket

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    @property
    def sid(self) -> str:
        """The session's id."""
        return str(self.info["sid"])

    async def raw(self, data: bytes) -> None:
        """Send raw bytes."""
        await self.http.send(data)

    async def send(self, data: str | bytes) -> None:
        """Send one message: text for `str`, binary for `bytes`."""
        if isinstance(data, str):
            await self.raw(frame(TEXT, data.encode()))
        else:
            await self.raw(frame(BINARY, data))

    async def frame(self) -> Frame:
        """The next frame. Raises `EOFError` at the end of the connection."""
        reader = self.http.reader
        async with asyncio.timeout(TIMEOUT):
            first, second = await reader.readexactly(2)
            assert first & 0x80, "the service does not fragment"
            assert not second & 0x80, "a server must not mask"
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            return Frame(first & 0x7F, await reader.readexactly(size))

    async def text(self) -> str:
        """The next frame, which must be text."""
        found = await self.frame()
        assert found.opcode == TEXT, found
        return found.payload.decode()

    async def binary(self) -> bytes:
        """The next frame, which must be binary."""
        found = await self.frame()
        assert found.opcode == BINARY, found
        return found.payload

    async def ended(self) -> tuple[list[str], Ended]:
        """Read to the end. Returns the remaining text messages and the end."""
        texts: list[str] = []
        end = Ended(1006, "")
        try:
            while True:
                found = await self.frame()
                if found.opcode == TEXT:
                    texts.append(found.payload.decode())
                elif found.opcode == CLOSE and end.code == 1006:
                    code = int.from_bytes(found.payload[:2], "big")
                    end = Ended(code, found.payload[2:].decode())
        except (EOFError, ConnectionError):
            return texts, end
