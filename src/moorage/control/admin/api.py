"""The HTTP side of the Admin API: who asks, for what, with which arguments, and the answer. The order is
fixed: nothing of a request but its key is looked at before the key is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from moorage import __version__
from moorage.control.admin.access.callers import COOKIE, Caller, Callers
from moorage.control.admin.access.keys import AdminKeys, Role
from moorage.control.admin.access.tries import SECONDS
from moorage.control.admin.audit import Note
from moorage.control.admin.openapi import document
from moorage.control.admin.operations import BASE, Call, Operation, Table
from moorage.control.admin.pace import Pace
from moorage.control.rest import Count
from moorage.control.rest_answers import error_answer, json_answer
from moorage.wire.authority import check_host
from moorage.wire.errors import PeerError
from moorage.wire.query import parse_query
from moorage.wire.reasons import (
    ADMIN_BUSY,
    ADMIN_ROLE,
    ADMIN_TOO_MANY_TRIES,
    API_BAD_ARGUMENT,
    API_BAD_BODY,
    API_BAD_CONTENT_TYPE,
    API_BAD_METHOD,
    API_BODY_TOO_LARGE,
    BAD_HTTP,
)

LOGIN: Final = "/dashboard/session"
OPENAPI: Final = f"{BASE}/openapi.json"
MAX_BODY: Final = 1024 * 1024
MAX_QUERY: Final = 8 * 1024
_JWT: Final = re.compile(r"Bearer +eyJ[^.]*\.[^.]*\.[^.]*$", re.IGNORECASE)
MAX_FIELDS: Final = 50
RETRY: Final = {ADMIN_TOO_MANY_TRIES: str(ceil(SECONDS)), ADMIN_BUSY: "1"}
"""Seconds after which another request may succeed."""
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a login."""

    key: str


class AdminApi:
    """The ASGI application. `note` is told of attempts without the role for them. `token_check` checks a
    token of the REST API for `request`, and raises `PeerError`. `public_endpoint` as in `ServerSettings`."""

    def __init__(
        self,
        table: Table,
        keys: AdminKeys,
        callers: Callers,
        *,
        token_check: Callable[[Request], object],
        session_ttl: float,
        clock: Callable[[], float],
        count: Count,
        note: Note,
        public_endpoint: str = "",
    ) -> None:
        self._table = table
        self._keys = keys
        self._callers = callers
        self._token_check = token_check
        self._session_ttl = session_ttl
        self._clock = clock
        self._count = count
        self._note = note
        self._pace = Pace()
        self._document = b""
        self._secure = public_endpoint.startswith("https:")

    @property
    def routes(self) -> list[Route]:
        """Everything below `/api/v1/`, and the login. Without a key no path matches."""
        return [_While("/api/v1/{rest:path}", self)]

    def takes(self, path: str) -> bool:
        """True if this path is answered here."""
        return self._keys.enabled and (path.startswith(f"{BASE}/") or path == LOGIN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        name, reason = "unknown", None
        try:
            path = scope["raw_path"].decode("ascii", "replace")
            if path == LOGIN:
                name = "login"
                response = await self._login(request)
            elif path == OPENAPI:
                name = "openapi"
                response = self._openapi(request)
            else:
                operation, given = self._find(request, path)
                name = operation.name
                caller = self._admit(request, operation)
                await self._pace.turn()
                response = await self._answer(request, operation, given, caller)
        except PeerError as error:
            reason = error.reason.name
            response = error_answer(error, name)
            if error.reason.http == 401:
                response.headers["www-authenticate"] = "Bearer"  # RFC 9110, 11.6.1
            if error.reason in RETRY:
                response.headers["retry-after"] = RETRY[error.reason]
            if error.reason is API_BAD_METHOD:
                response.headers["allow"] = error.detail.removeprefix("takes ")  # RFC 9110, 15.5.6
        response.headers.update(HEADERS)
        self._count(name, response.status_code, reason)
        await response(scope, receive, send)

    def _openapi(self, request: Request) -> Response:
        """Open to all: it tells nothing about this service."""
        if request.method not in ("GET", "HEAD"):
            raise PeerError(API_BAD_METHOD, "takes GET")
        if not self._document:
            self._document = msgspec.json.encode(document(self._table, __version__))
        return Response(self._document, media_type="application/json")

    # -- login -----------------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response:
        check_host(request.headers.getlist("host"))
        if request.method == "DELETE":
            self._callers.check_site(request)
            response = Response(status_code=204)
            response.delete_cookie(COOKIE, secure=self._is_secure(request), httponly=True, samesite="strict")
            return response
        if request.method != "POST":
            raise PeerError(API_BAD_METHOD, "takes POST, DELETE")
        # No foreign page may sign its visitor in with a key of its own.
        self._callers.check_page(request)
        key = _decoded(await _body(request), Login).key
        role = self._callers.role_of(key, self._callers.address_of(request))
        now = self._clock()
        token = self._keys.begin_session(role, now, self._session_ttl)
        response = json_answer({"role": role.shown, "expires": now + self._session_ttl})
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(self._session_ttl),
            secure=self._is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return response

    def _is_secure(self, request: Request) -> bool:
        return self._secure or request.scope["scheme"] == "https"

    # -- operations --------------------------------------------------------------------------------

    def _find(self, request: Request, path: str) -> tuple[Operation, str]:
        try:
            return self._table.find(request.method, path)
        except PeerError:
            # A stranger is not told which paths there are.
            self._callers.caller(request)
            raise

    def _admit(self, request: Request, operation: Operation) -> Caller:
        if operation.access_token and _JWT.match(request.headers.get("authorization", "")):
            self._token_check(request)
            caller = Caller(Role.READ, self._callers.address_of(request))
        else:
            caller = self._callers.caller(request)
        if caller.role < operation.role:
            self._note(caller, operation.name, {}, ADMIN_ROLE.name)
            raise PeerError(ADMIN_ROLE, f"expected the role {operation.role.shown}")
        check_host(request.headers.getlist("host"))
        return caller

    async def _answer(self, request: Request, operation: Operation, given: str, caller: Caller) -> Response:
        query = _query(request.scope["query_string"], operation.query)
        body = None
        if operation.body is not None:
            body = _decoded(await _body(request), operation.body)
        found = await operation.handle(Call(operation.name, caller, query, body, given))
        return found if isinstance(found, Response) else json_answer(found, operation.status)


class _While(Route):
    """Matches while the API takes the path; else the request goes on to other routes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As in Starlette."""
        api: Any = self.endpoint
        if scope["type"] == "http" and api.takes(scope["path"]):
            return Match.FULL, {"endpoint": api, "path_params": {}}
        return Match.NONE, {}


def _query(raw: bytes, kind: type[msgspec.Struct]) -> Any:
    if len(raw) > MAX_QUERY:
        raise PeerError(API_BAD_ARGUMENT, f"the query has more than {MAX_QUERY} bytes")
    try:
        given = parse_query(raw.decode(), MAX_FIELDS)
    except ValueError:
        raise PeerError(API_BAD_ARGUMENT, "the query is not UTF-8, or has too many fields") from None
    fields: dict[str, str] = {}
    known = kind.__struct_fields__
    for name, values in given.items():
        if name not in known:
            raise PeerError(API_BAD_ARGUMENT, f"no such parameter: {name[:64]}")
        if len(values) > 1:
            raise PeerError(API_BAD_ARGUMENT, f"{name} is given twice")
        fields[name] = values[0]
    try:
        query = msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise PeerError(API_BAD_ARGUMENT, str(error)[:200]) from None
    for name in fields:
        # Where a number is expected, msgspec takes the text `null` for none at all.
        if getattr(query, name) is None:
            raise PeerError(API_BAD_ARGUMENT, f"{name}: expected a number")
    return query


FORMS: Final = {
    "hub": "hub: expected a letter, then up to 127 of A-Z a-z 0-9 _ ` , . [ ]",
    "namespace": "namespace: expected a text that begins with / and has no comma, ? or control character",
}
"""What to say instead of a regular expression."""
_FORM: Final = re.compile(rf"matching regex .* at `\$\.({'|'.join(FORMS)})`$")


def _decoded(body: bytes, kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The message names the fault and its place, not the value: that may be a key.
        found = _FORM.search(str(error))
        raise PeerError(API_BAD_BODY, FORMS[found[1]] if found else str(error)[:200]) from None


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise PeerError(API_BAD_CONTENT_TYPE, "expected application/json")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise PeerError(API_BODY_TOO_LARGE, f"at most {MAX_BODY} bytes")
    except ClientDisconnect:
        raise PeerError(BAD_HTTP, "the body ended early") from None
    return bytes(body)
