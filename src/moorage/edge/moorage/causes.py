"""The disconnect reasons of a Socket.IO server, for our numbered reasons."""

from __future__ import annotations

from typing import Final

from moorage.wire.reasons import (
    API_CLOSED,
    APP_CLOSED,
    APP_LET_GO,
    BAD_PACKET,
    BAD_SOCKETIO_PACKET,
    DRAINING,
    DUPLICATE_CONNECT,
    DUPLICATE_POLL,
    DUPLICATE_POST,
    FRAGMENT_FLOOD,
    MISSING_ATTACHMENT,
    PING_TIMEOUT,
    TOO_MANY_ATTACHMENTS,
    UNEXPECTED_BINARY,
    Reason,
)

_CAUSES: Final = {
    PING_TIMEOUT: "ping timeout",
    DRAINING: "server shutting down",
    APP_CLOSED: "forced server close",
    APP_LET_GO: "forced server close",
    API_CLOSED: "forced server close",
    DUPLICATE_CONNECT: "forced server close",
    BAD_PACKET: "parse error",
    BAD_SOCKETIO_PACKET: "forced close",
    MISSING_ATTACHMENT: "forced close",
    TOO_MANY_ATTACHMENTS: "forced close",
    UNEXPECTED_BINARY: "forced close",
    DUPLICATE_POLL: "transport error",
    DUPLICATE_POST: "transport error",
}


def cause_of(reason: Reason) -> str:
    """The text with which a Socket.IO server reports such a disconnect. It reports `parse error` for a broken
    Engine.IO packet, and `forced close` for a broken Socket.IO packet."""
    if reason in _CAUSES:
        return _CAUSES[reason]
    broken = BAD_PACKET.number <= reason.number <= FRAGMENT_FLOOD.number
    return "transport error" if broken else "transport close"
