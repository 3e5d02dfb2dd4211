"""The disconnect reasons of a Socket.IO server, for our numbered reasons."""

from __future__ import annotations

from typing import Final

from moorage.wire import reasons
from moorage.wire.reasons import Reason

_CAUSES: Final = {
    reasons.PING_TIMEOUT: "ping timeout",
    reasons.DRAINING: "server shutting down",
    reasons.APP_CLOSED: "forced server close",
    reasons.APP_LET_GO: "forced server close",
    reasons.API_CLOSED: "forced server close",
    reasons.DUPLICATE_CONNECT: "forced server close",
    reasons.BAD_PACKET: "parse error",
    reasons.BAD_SOCKETIO_PACKET: "forced close",
    reasons.MISSING_ATTACHMENT: "forced close",
    reasons.TOO_MANY_ATTACHMENTS: "forced close",
    reasons.UNEXPECTED_BINARY: "forced close",
    reasons.DUPLICATE_POLL: "transport error",
    reasons.DUPLICATE_POST: "transport error",
}


def cause_of(reason: Reason) -> str:
    """The text with which a Socket.IO server reports such a disconnect. It reports `parse error` for a broken
    Engine.IO packet, and `forced close` for a broken Socket.IO packet."""
    if reason in _CAUSES:
        return _CAUSES[reason]
    broken = reasons.BAD_PACKET.number <= reason.number <= reasons.FRAGMENT_FLOOD.number
    return "transport error" if broken else "transport close"
