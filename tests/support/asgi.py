"""Requests spoken to an ASGI application directly, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.applications import Starlette


class Answer(NamedTuple):
    """The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: Starlette, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, spoken to the application directly in ASGI."""
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], answered, b"".join(part.get("body", b"") for part in sent[1:]))
