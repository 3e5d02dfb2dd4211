"""Helpers with which an ASGI application reads one HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from moorage.wire.errors import PeerError
from moorage.wire.reasons import PAYLOAD_TOO_LARGE

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class GoneError(Exception):
    """The HTTP client is gone, and no answer can be sent."""


async def unless_gone(future: asyncio.Future[T], receive: Receive) -> T | None:
    """The future's result, or None if the HTTP connection ends before it or at the same moment."""
    if future.done():
        return future.result()
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else future.result()
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read the request's body. Raises `PeerError` (payload-too-large) and `GoneError`."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {limit} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)
