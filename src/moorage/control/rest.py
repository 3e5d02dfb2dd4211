"""The data-plane REST API over HTTP: `/api/hubs/{hub}/…` and `/api/health`.

A thin shell in four steps: check the caller (`auth`), decode the request (`wire.azure.dataplane`), carry it
out (`execute`, given by the composition root), and answer (`rest_answers`). The order is fixed: no body is
read for a caller without a valid token."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from moorage import auth
from moorage.control.rest_answers import error_answer, json_answer, page_answer
from moorage.control.work import Reading
from moorage.wire import reasons
from moorage.wire.authority import check_host
from moorage.wire.azure import dataplane
from moorage.wire.azure.operations import GenerateToken, next_page
from moorage.wire.commands import Command, Exists, Invoke, ListGroup, Outcome
from moorage.wire.errors import PeerError

HEALTH: Final = "/api/health"

Execute = Callable[[Command], Outcome | Awaitable[Outcome]]
"""Carries out a command, at once or in steps. May raise `PeerError`."""
Count = Callable[[str, int, str | None], None]
"""Called for every answered request with the operation's name ("health", "unknown" or a name in `dataplane`),
the status, and the reason's name if it was refused."""


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
) -> list[Route]:
    """One route for everything below `/api/`, so that a wrong path gets the API's own error. `clock` gives
    epoch seconds. `max_body` in bytes. `public_endpoint`: the URL that callers use, as in `ServerSettings`;
    empty means each request's own Host header. `ready` decides what health answers."""
    endpoint = public_endpoint.rstrip("/")
    reading = Reading(time.monotonic)
    api = _Api(keys, execute, count, clock, settings, max_body, endpoint, ready, reading)
    return [_Below("/api/{rest:path}", api)]


class _Below(Route):
    """All paths below `/api/`. Starlette's pattern excludes those with a line break, which would get another
    answer without a check of the token."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the beginning of the path only."""
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


@dataclass(frozen=True, slots=True)
class _Api:
    """The ASGI application of the route. The fields are those of `routes`."""

    keys: auth.AccessKeys
    execute: Execute
    count: Count
    clock: Callable[[], float]
    settings: auth.AuthSettings
    max_body: int
    public_endpoint: str
    ready: Callable[[], bool]
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
            if error.reason is reasons.API_BAD_METHOD:
                allowed = ("GET", "HEAD") if path == HEALTH else dataplane.allowed_methods(path)
                response.headers["allow"] = ", ".join(allowed)  # RFC 9110, 15.5.6
        self.count(name, response.status_code, reason)
        await response(scope, receive, send)

    def _health(self, method: str) -> Response:
        """Open to all, as in Azure's service: load balancers have no token."""
        if method not in {"GET", "HEAD"}:
            raise PeerError(reasons.API_BAD_METHOD, "takes GET, HEAD")
        if not self.ready():
            raise PeerError(reasons.DRAINING)
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
        if isinstance(command, GenerateToken):
            return json_answer({"token": self._token(command, base, now)})
        if isinstance(command, Invoke):
            raise PeerError(reasons.API_BAD_PATH, "acks are collected over an app server's link only")
        outcome = self.execute(command)
        if not isinstance(outcome, Outcome):
            outcome = await outcome
        status = operation.status(outcome)
        if isinstance(command, ListGroup):
            return page_answer(outcome, next_page(fields, outcome), base + path)
        if status != reasons.API_NOT_FOUND.http:
            return Response(status_code=status)
        if isinstance(command, Exists):
            return error_answer(PeerError(reasons.API_NOT_FOUND), operation.name)  # an answer, not a refusal
        raise PeerError(reasons.API_NOT_FOUND)

    async def _body(self, request: Request) -> bytes:
        """The whole body. Raises `PeerError` (api-body-too-large) as early as possible."""
        too_large = PeerError(reasons.API_BODY_TOO_LARGE, f"at most {self.max_body} bytes")
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
            raise PeerError(reasons.BAD_HTTP, "the body ended early") from None
        return bytes(body)

    def _token(self, asked: GenerateToken, base: str, now: float) -> str:
        audience = f"{base}/clients/socketio/hubs/{asked.hub}"
        return auth.sign(
            self.keys, audience, now, asked.ttl, user=asked.user, groups=asked.groups, roles=asked.roles
        )


def _target(scope: Scope) -> tuple[str, str]:
    """Path and query as in the request line. The path must be split before its names are decoded, so the
    server's decoded `path` is of no use."""
    try:
        return scope["raw_path"].decode(), scope["query_string"].decode()
    except UnicodeDecodeError:
        raise PeerError(reasons.API_BAD_ARGUMENT, "the URL is not UTF-8") from None
