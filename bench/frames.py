"""The load generator's WebSocket frames and the Socket.IO text in them. Pure.

Only what these servers send: whole, unmasked frames. A fragment, a close or an unknown opcode means
that a measurement is worthless, so it raises instead of being handled.
"""

from __future__ import annotations

import os

from bench.errors import BenchError

TEXT = 0x81
"""First byte of an unfragmented text frame."""

TICK = b'42["tick","'
"""The beginning of the broadcast event, from any server."""


def client_frame(payload: bytes) -> bytes:
    """A masked text frame. The mask is random and never zero: `ws` skips unmasking under a zero
    mask, which would flatter it beside a client that follows RFC 6455 (5.3)."""
    mask = os.urandom(3) + b"\x5a"
    size = len(payload)
    if size < 126:
        head = bytes((TEXT, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((TEXT, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((TEXT, 0x80 | 127)) + size.to_bytes(8, "big")
    key = (mask * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + body.to_bytes(size, "big")


def server_frame(payload: bytes) -> bytes:
    """An unmasked text frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((TEXT, 127)) + size.to_bytes(8, "big") + payload


def tick_frame(size: int) -> bytes:
    """The whole frame of `io.emit("tick", "xxx...")` with a string of `size` bytes."""
    return server_frame(TICK + b"x" * size + b'"]')


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Payloads of the whole text frames in `data`, and the rest that is not a whole frame yet.

    Raises `BenchError` for anything but whole, unmasked text frames.
    """
    payloads: list[bytes] = []
    at, end = 0, len(data)
    while end - at >= 2:
        if data[at] != TEXT:
            raise BenchError(f"the server sent a frame that begins {data[at]:#04x}, not text")
        size, start = data[at + 1], at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            start += width
            size = int.from_bytes(data[start - width : start], "big")
        if start + size > end:
            break
        payloads.append(data[start : start + size])
        at = start + size
    return payloads, data[at:]


BROWSER = (
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: websocket",
    "Sec-Fetch-Site: same-origin",
    "Cookie: session=4f1c2d7e9ab84c0fb3a6d5e2f1c0b9a8; theme=dark; consent=all",
)
"""A browser's headers, which give a handshake its realistic size."""

_BROWSER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)


def upgrade_request(host: str, port: int, path: str, headers: tuple[str, ...] = ()) -> bytes:
    """A WebSocket handshake for Engine.IO 4 over WebSocket alone, with `headers` as well."""
    more = "".join(f"{header}\r\n" for header in headers)
    return (
        f"GET {path}?EIO=4&transport=websocket HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        f"Origin: http://{host}:{port}\r\n"
        f"User-Agent: {_BROWSER_AGENT if BROWSER[0] in headers else 'moorage-bench'}\r\n"
        f"{more}"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode("ascii")
