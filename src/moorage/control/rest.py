"""The data-plane REST API over HTTP: `/api/hubs/{hub}/…` and `/api/health`.

A thin shell: who may call (`auth`), what is asked (`wire.dataplane`), carry it out (`execute`,
which the composition root gives), answer (`rest_answers`). The order is fixed: nothing of a body
is read for a caller without a good token.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from moorage import auth
from moorage.control.rest_answers import error_answer, json_answer, page_answer
from moorage.control.work import Reading
from moorage.wire.authority import check_host
from moorage.wire.azure import dataplane
from moorage.wire.commands import Command, Exists, Invoke, ListGroup, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.reasons import (
    API_BAD_ARGUMENT,
    API_BAD_METHOD,
    API_BAD_PATH,
    API_BODY_TOO_LARGE,
    API_NOT_FOUND,
    BAD_HTTP,
    DRAINING,
)

HEALTH: Final = "/api/health"


class Execute(Protocol):
    """Carries a command out: at once, or in steps where that is much. May raise `PeerError`."""

    def __call__(self, command: Command, /) -> Outcome | Awaitable[Outcome]: ...


class Count(Protocol):
    """Hears of every answered request: the operation's name ("health", "unknown" or one of
    `dataplane`'s), the status, and the reason's name where it was refused."""

    def __call__(self, operation: str, status: int, reason: str | None, /) -> None: ...


class OpenInvoke(Protocol):
    """Carries an `:invoke` out; yields one JSON object and a newline per client's ack, and ends
    when all have answered or the time is over. Closing the iterator gives the rest up."""

    def __call__(self, command: Invoke, /) -> AsyncIterator[bytes]: ...


def routes(
    *,
    keys: auth.AccessKeys,
    execute: Execute,
    count: Count,
    clock: Callable[[], float],
    settings: auth.AuthSettings,
    max_body: int,
    public_endpoint: str = "",
    ready: Callable[[], bool] = lambda: True,
    invoke: OpenInvoke | None = None,
) -> list[Route]:
    """Everything below `/api/`, so that a wrong path there gets the API's own error.

    `clock` gives epoch seconds. `max_body` in bytes. `public_endpoint`: the URL that callers use,
    as in `ServerSettings`; empty means each request's own Host header. `ready` decides what health
    answers. `invoke` None: there is no `:invoke` here.
    """
    endpoint = public_endpoint.rstrip("/")
    reading = Reading(time.monotonic)
    api = _Api(keys, execute, count, clock, settings, max_body, endpoint, ready, invoke, reading)
    return [_Below("/api/{rest:path}", api)]


class _Below(Route):
    """All paths below `/api/`. Starlette's pattern leaves out those with a line break, which would get
    another answer, and without a look at the token."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """By the path's beginning alone."""
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


@dataclass(frozen=True, slots=True)
class _Api:
    """The ASGI application behind the route. Fields as of `routes`."""

    keys: auth.AccessKeys
    execute: Execute
    count: Count
    clock: Callable[[], float]
    settings: auth.AuthSettings
    max_body: int
    public_endpoint: str
    ready: Callable[[], bool]
    invoke: OpenInvoke | None
    reading: Reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        name, reason = "unknown", None
        try:
            path, query = _target(scope)
            if path == HEALTH:
                name = "health"
                response = self._health(request.method)
            else:
                name = dataplane.operation_name(request.method, path)
                response = await self._answer(request, path, query)
        except PeerError as error:
            reason = error.reason.name
            response = error_answer(error, name)
            if error.reason is API_BAD_METHOD:
                allowed = ("GET", "HEAD") if path == HEALTH else dataplane.allowed_methods(path)
                response.headers["allow"] = ", ".join(allowed)  # RFC 9110, 15.5.6
        self.count(name, response.status_code, reason)
        await response(scope, receive, send)

    def _health(self, method: str) -> Response:
        """Open to all, like Azure's: load balancers ask it without a token."""
        if method not in {"GET", "HEAD"}:
            raise PeerError(API_BAD_METHOD, "takes GET, HEAD")
        if not self.ready():
            raise PeerError(DRAINING)
        return Response()

    async def _answer(self, request: Request, path: str, query: str) -> Response:
        headers = request.headers
        host = headers.get("host", "")
        now = self.clock()
        auth.verify(
            auth.bearer(headers.get("authorization", "")),
            self.keys,
            auth.rest_audiences(self.public_endpoint or host, path, query),
            now,
            self.settings.clock_skew,
        )
        check_host(headers.getlist("host"))
        fields = dataplane.parse_query(query)
        body = await self._body(request) if request.method == "POST" else b""
        content_type = headers.get("content-type", "")
        operation = await self.reading.read(
            partial(dataplane.decode, request.method, path, fields, content_type, body)
        )
        base = self.public_endpoint or f"{request.scope['scheme']}://{host}"
        command = operation.command
        if isinstance(command, dataplane.GenerateToken):
            return json_answer({"token": self._token(command, base, now)})
        if isinstance(command, Invoke):
            return self._stream(command)
        outcome = self.execute(command)
        if not isinstance(outcome, Outcome):
            outcome = await outcome
        status = operation.status(outcome)
        if isinstance(command, ListGroup):
            return page_answer(outcome, dataplane.next_page(fields, outcome), base + path)
        if status != API_NOT_FOUND.http:
            return Response(status_code=status)
        if isinstance(command, Exists):
            return error_answer(PeerError(API_NOT_FOUND), operation.name)  # an answer, not a refusal
        raise PeerError(API_NOT_FOUND)

    async def _body(self, request: Request) -> bytes:
        """All of the body. Raises `PeerError` (api-body-too-large) as soon as that is known."""
        too_large = PeerError(API_BODY_TOO_LARGE, f"at most {self.max_body} bytes")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:19]) > self.max_body:
            raise too_large
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self.max_body:
                    raise too_large
        except ClientDisconnect:
            raise PeerError(BAD_HTTP, "the body ended early") from None
        return bytes(body)

    def _token(self, asked: dataplane.GenerateToken, base: str, now: float) -> str:
        audience = f"{base}/clients/socketio/hubs/{asked.hub}"
        return auth.sign(
            self.keys, audience, now, asked.ttl, user=asked.user, groups=asked.groups, roles=asked.roles
        )

    def _stream(self, command: Invoke) -> Response:
        if self.invoke is None:
            raise PeerError(API_BAD_PATH, "acks are collected over an app server's link only")
        return StreamingResponse(self.invoke(command), media_type="application/x-ndjson")


def _target(scope: Scope) -> tuple[str, str]:
    """Path and query as on the request line: names in the path must be split before they are
    decoded, which the server's decoded `path` does not allow."""
    try:
        return scope["raw_path"].decode(), scope["query_string"].decode()
    except UnicodeDecodeError:
        raise PeerError(API_BAD_ARGUMENT, "the URL is not UTF-8") from None
