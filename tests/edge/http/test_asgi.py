"""Reading one HTTP request as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from moorage.edge.http.asgi import GoneError, read_body, unless_gone
from moorage.wire.errors import PeerError

Message = MutableMapping[str, Any]


class Server:
    """Gives an application what a client says, then that it is gone."""

    def __init__(self, *parts: bytes, whole: bool = True) -> None:
        self._messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": not whole or number < len(parts)}
            for number, part in enumerate(parts, 1)
        ]

    async def receive(self) -> Message:
        return self._messages.pop(0) if self._messages else {"type": "http.disconnect"}


async def test_a_body_in_parts() -> None:
    assert await read_body(Server(b"ab", b"", b"cd").receive, 4) == b"abcd"


async def test_a_body_that_is_too_large() -> None:
    with pytest.raises(PeerError, match="at most 3 bytes"):
        await read_body(Server(b"ab", b"cd").receive, 3)


async def test_a_body_that_never_ends() -> None:
    with pytest.raises(GoneError):
        await read_body(Server(b"ab", whole=False).receive, 4)


async def test_an_answer_counts_unless_the_client_has_gone() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert await unless_gone(future, Server().receive) is None
    future.set_result(1)
    assert await unless_gone(future, Server().receive) == 1
