"""HTTP answers to clients, as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def respond(
    send: Send, status: int, content_type: bytes, body: bytes, extra: list[tuple[bytes, bytes]]
) -> None:
    """Send a whole answer. `extra` are additional headers."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def preflight(send: Send, cors: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> None:
    """Answer a browser that asks whether a page may send the real request."""
    asked = headers.get(b"access-control-request-headers", b"content-type")
    extra = [
        *cors,
        (b"access-control-allow-methods", b"GET,POST,OPTIONS"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": extra if cors else []})
    await send({"type": "http.response.body", "body": b""})
