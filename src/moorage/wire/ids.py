"""Ids of connections. An id begins with the incarnation of the node that made it, so any node can tell from a
polling request which node owns its session."""

from __future__ import annotations

from typing import Final

INCARNATION_BYTES: Final = 6
"""Random bytes of an incarnation, which are written as URL-safe Base64."""
_LENGTH: Final = 8


def incarnation_of(connection_id: str) -> str:
    """The node that made an id."""
    return connection_id[:_LENGTH]
