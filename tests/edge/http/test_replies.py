from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from moorage.edge.http.replies import preflight, respond


class Sent:
    """Takes ASGI messages."""

    def __init__(self) -> None:
        self.messages: list[MutableMapping[str, Any]] = []

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)


async def test_an_answer_is_not_stored_and_has_its_length() -> None:
    sent = Sent()
    await respond(sent, 400, b"text/plain", "é".encode(), [(b"vary", b"Origin")])
    start, body = sent.messages
    assert start["status"] == 400
    assert dict(start["headers"]) == {
        b"content-type": b"text/plain",
        b"content-length": b"2",
        b"cache-control": b"no-store",
        b"vary": b"Origin",
    }
    assert body["body"] == "é".encode()


async def test_a_preflight_allows_what_is_asked_for_to_origins_that_may_connect() -> None:
    allowed, refused = Sent(), Sent()
    asked = {b"access-control-request-headers": b"x-own"}
    await preflight(allowed, [(b"access-control-allow-origin", b"https://a.example")], asked)
    await preflight(refused, [], asked)
    assert dict(allowed.messages[0]["headers"])[b"access-control-allow-headers"] == b"x-own"
    assert [sent.messages[0]["status"] for sent in (allowed, refused)] == [204, 204]
    assert refused.messages[0]["headers"] == []
