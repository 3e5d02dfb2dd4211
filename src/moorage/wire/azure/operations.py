"""The operations of the data-plane API: one table, and the functions that build a command from a request."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, NamedTuple, NoReturn

import msgspec

from moorage.wire import reasons
from moorage.wire.azure.payload import check_payload
from moorage.wire.commands import (
    CloseConnections,
    Command,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.groups import MAX_GROUP
from moorage.wire.socketio import goodbye

MAX_GROUPS: Final = 1_000
"""Maximum groups in one call."""
MAX_EXCLUDED: Final = 1_000
"""Maximum excluded connections in one call."""
MAX_PAGE: Final = 200
"""Maximum connections on one page of a list."""
TEXT_PLAIN: Final = frozenset({"text/plain", "text/plain; charset=utf-8", "text/plain;charset=utf-8"})
"""The usual spellings, for a fast check."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-[A-Za-z0-9.]{1,32})?", re.ASCII)

Query = Mapping[str, Sequence[str]]


class GenerateToken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Make a client token. This is not a command for a node; the part that holds the keys answers it."""

    hub: str
    user: str | None
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    ttl: int
    """Seconds."""


class Call(NamedTuple):
    """A request with a known path. `names` are the variable segments of the path after the hub; `repair`
    is passed to `compile_filter`; with `check`, the payload must pass `check_payload`."""

    hub: str
    names: tuple[str, ...]
    query: Query
    content_type: str
    body: bytes
    repair: bool
    check: bool


class Row(NamedTuple):
    """An operation. `missing` is Azure's status for a connection, group or user that does not exist."""

    name: str
    build: Callable[[Call], Command | GenerateToken]
    success: int
    missing: int | None = None


def _one(query: Query, name: str) -> str | None:
    values = query.get(name, ())
    if len(values) > 1:
        raise PeerError(reasons.API_BAD_ARGUMENT, f"{name} is given twice")
    return values[0] if values else None


def check_version(query: Query) -> None:
    """Require an API version, as Azure does; any version is accepted."""
    if not _VERSION.fullmatch(_one(query, "api-version") or ""):
        raise PeerError(reasons.API_BAD_ARGUMENT, "api-version must be given, such as 2024-12-01")


def _number(query: Query, name: str, low: int, high: int) -> int | None:
    text = _one(query, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high):
        raise PeerError(reasons.API_BAD_ARGUMENT, f"{name} must be a number from {low} to {high}")
    return int(text)


def _texts(query: Query, name: str, most: int) -> tuple[str, ...]:
    values = query.get(name, ())
    if len(values) > most:
        raise PeerError(reasons.API_BAD_ARGUMENT, f"{name} is given more than {most} times")
    return tuple(values)


def check_name(name: str) -> str:
    """Return the name of a connection, user or group. Raises `PeerError` for a control character."""
    if _CONTROL.search(name):
        raise PeerError(reasons.API_BAD_ARGUMENT, "a name with a control character")
    return name


def _group(name: str) -> str:
    if not 0 < len(name) <= MAX_GROUP or name.isspace():
        raise PeerError(
            reasons.API_BAD_ARGUMENT, f"a group's name has 1 to {MAX_GROUP} characters, not all blank"
        )
    return check_name(name)


def _select(call: Call, *, group: str | None = None, user: str | None = None) -> Selection:
    """The selected connections. `filter` and `excluded` apply to every operation: one that ignored them
    would reach more connections than its caller wants."""
    text = _one(call.query, "filter")
    return Selection(
        group=None if group is None else _group(group),
        user=user,
        # Azure's SDK writes an empty filter for a single room without exceptions.
        filter=compile_filter(text, repair=call.repair) if text else None,
        excluded=_texts(call.query, "excluded", MAX_EXCLUDED),
    )


def _payload(call: Call) -> bytes:
    _number(call.query, "messageTtlSeconds", 0, 300)  # for queues of offline clients, which we do not have
    if call.content_type not in TEXT_PLAIN:
        _check_type(
            call.content_type,
            {"text/plain"},
            'Socket.IO hubs take text/plain with an Engine.IO payload such as 42["event","data"]',
        )
    if not call.body:
        raise PeerError(reasons.API_BAD_PAYLOAD, "empty")
    if call.check:
        check_payload(call.body)
    return call.body


def _check_type(content_type: str, wanted: set[str], hint: str) -> None:
    if content_type in wanted:
        return
    kind, *parameters = (part.strip().lower() for part in content_type.split(";", 8))
    charsets = [part[8:].strip("\"' ") for part in parameters if part.startswith("charset=")]
    if kind not in wanted or not {"utf-8", "utf8", "us-ascii"}.issuperset(charsets):
        raise PeerError(reasons.API_BAD_CONTENT_TYPE, hint)


class _GroupsBody(msgspec.Struct, gc=False):
    groups: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_GROUP)]],
        msgspec.Meta(max_length=MAX_GROUPS),
    ]
    filter: str | None = None


def _groups(call: Call) -> tuple[Selection, tuple[str, ...]]:
    _check_type(call.content_type, {"application/json", "text/json"}, "application/json is expected")
    try:
        asked = msgspec.json.decode(call.body, type=_GroupsBody)
    except msgspec.ValidationError as error:
        raise PeerError(reasons.API_BAD_BODY, str(error)) from None
    except (ValueError, RecursionError):
        raise PeerError(
            reasons.API_BAD_BODY, 'JSON such as {"groups":["a"],"filter":"..."} is expected'
        ) from None
    chosen = None if asked.filter is None else compile_filter(asked.filter, repair=call.repair)
    return Selection(filter=chosen), tuple(map(_group, asked.groups))


def _after(token: str) -> str:
    try:
        return b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise PeerError(reasons.API_BAD_ARGUMENT, "continuationToken is not one of ours") from None


def next_page(query: Query, outcome: Outcome) -> dict[str, list[str]] | None:
    """The query of the page that follows `outcome`; None after the last page. `top` bounds all pages
    together, so it decreases from page to page."""
    if not outcome.more or not outcome.members:
        return None
    following = {name: list(values) for name, values in query.items()}
    top = _number(query, "top", 1, 2**31 - 1)
    if top is not None:
        if top <= len(outcome.members):
            return None
        following["top"] = [str(top - len(outcome.members))]
    last = outcome.members[-1].connection_id
    following["continuationToken"] = [urlsafe_b64encode(last.encode()).rstrip(b"=").decode()]
    return following


def _join(call: Call) -> Command:
    to, groups = _groups(call)
    return JoinGroups(call.hub, to, groups)


def _leave(call: Call) -> Command:
    to, groups = _groups(call)
    return LeaveGroups(call.hub, to, groups)


def _close(call: Call, to: Selection) -> Command:
    return CloseConnections(call.hub, to, (_one(call.query, "reason") or "")[:256])


def _token(call: Call) -> GenerateToken:
    kind = _one(call.query, "clientType")
    if kind is not None and kind.lower() not in {"", "default", "mqtt", "socketio"}:
        raise PeerError(reasons.API_BAD_ARGUMENT, "clientType must be Default or SocketIO")
    return GenerateToken(
        hub=call.hub,
        user=check_name(_one(call.query, "userId") or "") or None,
        groups=tuple(map(_group, _texts(call.query, "group", MAX_GROUPS))),
        roles=_texts(call.query, "role", MAX_GROUPS),
        ttl=60 * (_number(call.query, "minutesToExpire", 1, 2**31 - 1) or 60),
    )


def _send(call: Call, to: Selection) -> Command:
    """A send. A single DISCONNECT is Azure's documented way to disconnect sockets. It becomes a separate
    command, so that the app servers of the sockets are notified."""
    payload = _payload(call)
    end = goodbye(payload) if call.check else None
    if end is not None:
        return LeaveNamespace(call.hub, to, end.namespace, bool(end.close))
    if to.connection is not None:
        return SendToConnection(call.hub, to.connection, payload)
    return Send(call.hub, to, payload)


def _list(call: Call) -> Command:
    page = _number(call.query, "maxpagesize", 1, MAX_PAGE) or MAX_PAGE
    top = _number(call.query, "top", 1, 2**31 - 1) or page
    after = _after(_one(call.query, "continuationToken") or "")
    return ListGroup(call.hub, _group(call.names[0]), min(page, top), after)


def _no_permissions(call: Call) -> NoReturn:
    raise PeerError(reasons.API_NO_PERMISSIONS, "the app server decides what a client may do")


def _connection(call: Call) -> Selection:
    """The connection whose id is the last name of the path."""
    return Selection(connection=call.names[-1])


def _user(call: Call) -> Selection:
    return Selection(user=call.names[0])


ROWS: Final[dict[str, dict[str, Row]]] = {
    # The path after the hub, with a star for each name; then the method.
    ":addToGroups": {"POST": Row("add_connections_to_groups", _join, 200)},
    ":removeFromGroups": {"POST": Row("remove_connections_from_groups", _leave, 200)},
    ":closeConnections": {"POST": Row("close_all_connections", lambda c: _close(c, _select(c)), 204)},
    ":generateToken": {"POST": Row("generate_client_token", _token, 200)},
    ":send": {"POST": Row("send_to_all", lambda c: _send(c, _select(c)), 202)},
    ":invoke": {"POST": Row("invoke", lambda c: Invoke(c.hub, _select(c), _payload(c)), 200)},
    "connections/*": {
        "DELETE": Row("close_connection", lambda c: _close(c, _connection(c)), 204),
        "HEAD": Row("connection_exists", lambda c: Exists(c.hub, _connection(c)), 200, 404),
    },
    "connections/*/:send": {"POST": Row("send_to_connection", lambda c: _send(c, _connection(c)), 202, 404)},
    "connections/*/groups": {
        "DELETE": Row(
            "remove_connection_from_all_groups", lambda c: LeaveGroups(c.hub, _connection(c), None), 204
        ),
    },
    "groups/*": {
        "HEAD": Row("group_exists", lambda c: Exists(c.hub, Selection(group=_group(c.names[0]))), 200, 404),
    },
    "groups/*/:closeConnections": {
        "POST": Row("close_group_connections", lambda c: _close(c, _select(c, group=c.names[0])), 204),
    },
    "groups/*/:send": {
        "POST": Row("send_to_group", lambda c: _send(c, _select(c, group=c.names[0])), 202),
    },
    "groups/*/connections": {"GET": Row("list_connections_in_group", _list, 200)},
    "groups/*/connections/*": {
        "PUT": Row(
            "add_connection_to_group",
            lambda c: JoinGroups(c.hub, _connection(c), (_group(c.names[0]),)),
            200,
            404,
        ),
        "DELETE": Row(
            "remove_connection_from_group",
            lambda c: LeaveGroups(c.hub, _connection(c), (_group(c.names[0]),)),
            204,
        ),
    },
    "permissions/*/connections/*": {
        "PUT": Row("grant_permission", _no_permissions, 200),
        "DELETE": Row("revoke_permission", _no_permissions, 204),
        "HEAD": Row("check_permission", _no_permissions, 200),
    },
    "users/*": {"HEAD": Row("user_exists", lambda c: Exists(c.hub, _user(c)), 200, 404)},
    "users/*/:closeConnections": {
        "POST": Row("close_user_connections", lambda c: _close(c, _select(c, user=c.names[0])), 204),
    },
    "users/*/:send": {
        "POST": Row("send_to_user", lambda c: _send(c, _select(c, user=c.names[0])), 202),
    },
    "users/*/groups": {
        "DELETE": Row("remove_user_from_all_groups", lambda c: LeaveGroups(c.hub, _user(c), None), 204),
    },
    "users/*/groups/*": {
        "PUT": Row(
            "add_user_to_group", lambda c: JoinGroups(c.hub, _user(c), (_group(c.names[1]),)), 200, 404
        ),
        "DELETE": Row(
            "remove_user_from_group", lambda c: LeaveGroups(c.hub, _user(c), (_group(c.names[1]),)), 204
        ),
    },
}
