"""Refusals as HTTP answers: status, Engine.IO's error object, and a hint for the developer."""

from __future__ import annotations

from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from moorage.wire.errors import PeerError
from moorage.wire.reasons import UNSUPPORTED_VERSION, Reason

OLD_CLIENT: Final = "use socket.io-client 3 or newer (python-socketio 5 or newer): this is Engine.IO 4"
HINT: Final = (
    'Socket.IO clients connect with { path: "/clients/socketio/hubs/HUB" }, or with no path at all '
    "for the default hub"
)


def plain_response(error: PeerError, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A complete HTTP refusal, ready to write."""
    body = error_body(error)
    headers = b"".join(b"%b: %b\r\n" % pair for pair in extra)
    return b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n%b" % (
        STATUS_LINE[error.reason.http],
        len(body),
        headers,
        body,
    )


def error_body(error: PeerError) -> bytes:
    """Engine.IO's error object, with the numbered reason, and a hint for a client that used a wrong path."""
    reason = error.reason
    body: dict[str, object] = {
        "code": reason.eio,
        "message": error.message,
        "reason": reason.name,
        "number": reason.number,
    }
    hint = hint_of(reason)
    if hint:
        body["hint"] = hint
    return orjson.dumps(body)


def hint_of(reason: Reason) -> str:
    """Advice for the developer of a refused client. It is not part of the message, because Engine.IO
    prescribes the message for a wrong version."""
    if reason is UNSUPPORTED_VERSION:
        return OLD_CLIENT
    return HINT if reason.http == 404 else ""
