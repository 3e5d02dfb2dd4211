"""Sockets as the Admin UI shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from moorage.hub.inspect.masking import masked_headers, masked_query
from moorage.wire.commands import Found

CLIENT_ID: Final = 12
"""Characters of a connection's id that the UI shows: the last ones, because ids of one node begin alike."""


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
    headers = _joined(masked_headers(_lists(given.get("headers"))))
    return {
        "address": given.get("address") or headers.get("x-forwarded-for", ""),
        "headers": headers,
        "query": _joined(masked_query(_lists(given.get("query")))),
        "issued": found.opened,
        "secure": bool(given.get("secure")),
        "time": datetime.fromtimestamp(found.opened / 1000, UTC).strftime("%a %b %d %Y %H:%M:%S GMT+0000"),
        # Without the query, which may hold secrets.
        "url": str(given.get("url") or "").partition("?")[0],
        "xdomain": "origin" in headers,
    }


def _lists(values: object) -> dict[str, list[str]]:
    """Headers or a query: the values of each name."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): list(map(str, value)) if isinstance(value, list) else [str(value)]
        for name, value in values.items()
    }


def _joined(values: dict[str, list[str]]) -> dict[str, str]:
    """One text for each name, as the UI expects it."""
    return {name: ", ".join(each) for name, each in values.items()}
