"""The Python SDK: Socket.IO app servers whose clients connect to Moorage.

    sio = socketio.AsyncServer(async_mode="asgi")
    moorage = await use_moorage(sio, hub="app", connection_string=...)

`use_moorage` is for `socketio.AsyncServer`, `use_moorage_sync` for `socketio.Server` in threading mode and
for Flask-SocketIO. Imports nothing of the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.sdk import supported as supported
from moorage.sdk.aio.app_server import Moorage, use_moorage
from moorage.sdk.errors import (
    LinkClosed,
    LinkError,
    LinkRefused,
    LinkUnavailable,
    MoorageError,
    NotSerialisable,
    QueueFull,
    RequestFailed,
    RequestTimeout,
    SessionLost,
    TooLarge,
    UsageError,
)
from moorage.sdk.exchange.answers import Acks, AppServer, FetchedSockets, RemoteSocket
from moorage.sdk.exchange.handover import HandedOver
from moorage.sdk.link.negotiate import flask_negotiate, starlette_negotiate
from moorage.sdk.link.tokens import ClientAccess, client_access, client_token

if TYPE_CHECKING:
    from moorage.sdk.threads.app_server import ThreadedMoorage, use_moorage_sync

__all__ = [
    "Acks",
    "AppServer",
    "ClientAccess",
    "FetchedSockets",
    "HandedOver",
    "LinkClosed",
    "LinkError",
    "LinkRefused",
    "LinkUnavailable",
    "Moorage",
    "MoorageError",
    "NotSerialisable",
    "QueueFull",
    "RemoteSocket",
    "RequestFailed",
    "RequestTimeout",
    "SessionLost",
    "ThreadedMoorage",
    "TooLarge",
    "UsageError",
    "client_access",
    "client_token",
    "flask_negotiate",
    "starlette_negotiate",
    "use_moorage",
    "use_moorage_sync",
]


def __getattr__(name: str) -> Any:
    # The synchronous side is loaded by those who use it: most app servers are one or the other.
    if name in ("ThreadedMoorage", "use_moorage_sync"):
        from moorage.sdk.threads import app_server  # noqa: PLC0415

        return getattr(app_server, name)
    raise AttributeError(name)
