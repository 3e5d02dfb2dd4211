"""Ids of connections. An id begins with the incarnation of the node that made it, so any node can tell from a
polling request which node owns its session."""

from __future__ import annotations

import secrets
from typing import Final

_LENGTH: Final = 8


def new_incarnation(prefix: str = "") -> str:
    """A new incarnation: 48 random bits as URL-safe Base64, less those in whose place `prefix` stands."""
    return prefix + secrets.token_urlsafe(_LENGTH)[: _LENGTH - len(prefix)]


def incarnation_of(connection_id: str) -> str:
    """The node that made an id."""
    return connection_id[:_LENGTH]
