"""Sockets as the Admin UI shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from moorage.wire.commands import Found

CLIENT_ID: Final = 12
"""Characters of a connection's id that the UI shows: the last ones, because ids of one node begin alike."""
_HIDDEN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


def client_id(connection: str) -> str:
    """The id of a client, short enough for the UI's tables."""
    return connection[-CLIENT_ID:]


def socket(found: Found, transport: str) -> dict[str, Any]:
    """One socket. `transport` is "" if it is unknown."""
    return {
        "id": found.id,
        "clientId": client_id(found.connection),
        "transport": transport,
        "nsp": found.namespace,
        "data": {"user": found.user} if found.user is not None else {},
        "handshake": _handshake(found),
        "rooms": [found.id, *found.rooms],
    }


def _handshake(found: Found) -> dict[str, Any]:
    try:
        given = orjson.loads(bytes(found.handshake))
    except orjson.JSONDecodeError:
        given = {}
    if not isinstance(given, dict):
        given = {}
    headers = _joined(given.get("headers"))
    return {
        "address": given.get("address") or headers.get("x-forwarded-for", ""),
        "headers": {name: "********" if name in _HIDDEN else value for name, value in headers.items()},
        "query": _joined(given.get("query")),
        "issued": found.opened,
        "secure": bool(given.get("secure")),
        "time": datetime.fromtimestamp(found.opened / 1000, UTC).strftime("%a %b %d %Y %H:%M:%S GMT+0000"),
        "url": given.get("url") or "",
        "xdomain": "origin" in headers,
    }


def _joined(values: object) -> dict[str, str]:
    """Headers or a query: one text for each name."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values.items()
    }
