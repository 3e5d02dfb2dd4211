"""The data-plane REST API: HTTP-shaped requests -> commands.

One table of operations (`operations.ROWS`) serves HTTP requests (`decode`) and the calls that Azure's SDK
sends inside its tunnel (`decode_url`). Paths, parameters and success codes are those of Azure's published
specification; `docs/reference/rest-api.md` lists them with our additions and restrictions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, unquote_plus

import msgspec

from moorage.wire.azure.operations import (
    ROWS,
    TEXT_PLAIN,
    Call,
    GenerateToken,
    Query,
    Row,
    check_name,
    check_version,
)
from moorage.wire.commands import Command, Outcome, Selection, Send, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter, compile_filter
from moorage.wire.groups import MAX_GROUP
from moorage.wire.query import parse_query as query_of
from moorage.wire.reasons import API_BAD_ARGUMENT, API_BAD_METHOD, API_BAD_PATH

HUB_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
"""Azure's rule for a hub's name; use with `fullmatch`."""
MAX_URL: Final = 64 * 1024
"""Maximum characters of a URL in a tunnel, where no HTTP server bounds it."""
MAX_FIELDS: Final = 1_100
"""Maximum fields of one query: a thousand `excluded`, and some others."""

_PREFIX: Final = "/api/hubs/"
# The literal origin that Azure's SDK writes. The character classes exclude characters that need
# decoding or splitting (`%`, `/`, `?`, `&`), and everything beyond printable ASCII.
_HOT: Final = re.compile(
    rf"https://host/api/hubs/({HUB_NAME.pattern})/"
    rf"(?:(connections|groups)/([!-$&-.0->@-~]{{1,{MAX_GROUP}}})/)?"
    r":send\?api-version=[!-%'-~]*(?:&filter=([!-%'-~]*))?"
)
_CACHED_TEXT: Final = 512  # characters; with the number of entries it bounds a cache to a few MB


class Operation(msgspec.Struct, frozen=True, gc=False):
    """A decoded request: the operation's name (from a closed set, usable as a metric's label), the command
    to execute, and the statuses of the answer."""

    name: str
    command: Command | GenerateToken
    success: int
    missing: int | None = None
    """Status if no connection was found; None = `success`."""

    def status(self, outcome: Outcome) -> int:
        """The HTTP status for the outcome of the command."""
        return self.success if outcome.found or self.missing is None else self.missing


def decode(
    method: str,
    path: str,
    query: Query,
    content_type: str,
    body: bytes,
    *,
    repair: bool = False,
    version_required: bool = True,
    check: bool = True,
) -> Operation:
    """Decode a request. Raises only `PeerError` (api-…). `path` is percent-encoded, as on the request line;
    `query` is the result of `parse_query`. `repair` is passed to `compile_filter`. With `version_required`
    the request must have an `api-version` (any version). With `check`, payloads must pass `check_payload`."""
    hub, names, row = _match(method, path)
    _check_names(names)
    if version_required:
        check_version(query)
    command = row.build(Call(hub, names, query, content_type, body, repair, check))
    return Operation(row.name, command, row.success, row.missing)


def decode_url(
    method: str, url: str, content_type: str, body: bytes, repair: bool = True, *, check: bool = False
) -> Operation:
    """Decode a call in a tunnel, whose URL is absolute or begins with `/`. Raises `PeerError` like `decode`.
    Payloads are checked only with `check`: they come from Socket.IO's own encoder, and every emit of an app
    server passes through here."""
    if len(url) > MAX_URL:
        raise PeerError(API_BAD_PATH, f"a URL of more than {MAX_URL} characters")
    if method == "POST" and content_type in TEXT_PLAIN and body and not check:
        operation = _hot(url, body, repair)
        if operation is not None:
            return operation
    route = _route if len(url) <= _CACHED_TEXT else _route.__wrapped__
    hub, names, row, query = route(method, url)
    command = row.build(Call(hub, names, query, content_type, body, repair, check))
    return Operation(row.name, command, row.success, row.missing)


@lru_cache(maxsize=1024)
def _route(method: str, url: str) -> tuple[str, tuple[str, ...], Row, Query]:
    """Parse the method and URL of a call. An app server joins groups with one URL and selects the
    connections in the body, so without the cache parsing costs about 4 us of a client's connect."""
    scheme, absolute, rest = url.partition("://")
    if absolute and "/" not in scheme:
        url = rest[rest.find("/") :] if "/" in rest else ""
    path, _, text = url.partition("?")
    hub, names, row = _match(method, path)
    _check_names(names)
    return hub, names, row, parse_query(text)


def _hot(url: str, body: bytes, repair: bool) -> Operation | None:
    """Fast path for sends, which are nearly all calls of an app server: 1 to 2 us, where `decode` takes 10.
    Returns None for any unusual call, valid or not."""
    match = _HOT.fullmatch(url)
    if match is None:
        return None
    hub, kind, name, text = match.groups()
    if kind == "connections":
        if text is not None:
            return None
        return Operation("send_to_connection", SendToConnection(hub, name, body), 202, 404)
    if text is None:
        chosen = None
    elif len(text) <= _CACHED_TEXT:
        chosen = _cached_filter(text, repair)
    else:
        return None
    if kind is None:
        return Operation("send_to_all", Send(hub, Selection(filter=chosen), body), 202)
    return Operation("send_to_group", Send(hub, Selection(group=name, filter=chosen), body), 202)


@lru_cache(maxsize=2048)
def _cached_filter(text: str, repair: bool) -> Filter:
    """Cached by the URL-encoded text, because decoding it costs 4 us, more than the rest of the call."""
    try:
        return compile_filter(unquote_plus(text, errors="strict"), repair=repair)
    except UnicodeDecodeError:
        raise PeerError(API_BAD_ARGUMENT, "the query is not UTF-8") from None


def operation_name(method: str, path: str) -> str:
    """The operation's name, for counting refused requests; "unknown" if there is none."""
    try:
        return _match(method, path)[2].name
    except PeerError:
        return "unknown"


def allowed_methods(path: str) -> tuple[str, ...]:
    """The methods of `path`, for an `Allow` header; empty if there is no such path."""
    try:
        return tuple(ROWS.get(_split(path)[2], ()))
    except PeerError:
        return ()


def parse_query(query: str) -> dict[str, list[str]]:
    """Parse a form-encoded query. Raises `PeerError` (api-bad-argument)."""
    try:
        # Strict, because replaced characters would change a filter.
        found = query_of(query, MAX_FIELDS)
        query.encode()
    except ValueError:
        raise PeerError(API_BAD_ARGUMENT, "the query is not UTF-8, or has too many fields") from None
    return found


def _match(method: str, path: str) -> tuple[str, tuple[str, ...], Row]:
    hub, names, shape = _split(path)
    rows = ROWS.get(shape)
    if rows is None:
        raise PeerError(API_BAD_PATH)
    row = rows.get(method)
    if row is None:
        raise PeerError(API_BAD_METHOD, f"takes {', '.join(rows)}")
    return hub, names, row


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        check_name(name)


def _split(path: str) -> tuple[str, tuple[str, ...], str]:
    """Hub, variable segments, and the path's shape (`groups/*/connections/*`)."""
    if not path.startswith(_PREFIX):
        raise PeerError(API_BAD_PATH)
    hub, *rest = path[len(_PREFIX) :].removesuffix("/").split("/", 6)
    try:
        path.encode()
        if "%" in path:
            # Split before decoding: an encoded slash belongs to a name.
            hub, *rest = (unquote(part, errors="strict") for part in (hub, *rest))
    except UnicodeError:
        raise PeerError(API_BAD_PATH, "the path is not UTF-8") from None
    if not HUB_NAME.fullmatch(hub):
        raise PeerError(API_BAD_PATH, "not a hub's name")
    if not all(rest):
        raise PeerError(API_BAD_PATH)
    # In every path of this API the names are the second and fourth segments after the hub.
    shape = "/".join("*" if index % 2 else part for index, part in enumerate(rest))
    return hub, tuple(rest[1::2]), shape
