"""What both client transports need before a session exists: path, origin, token, handshake."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, unquote_plus

from moorage import auth
from moorage.auth import AccessKeys, AuthSettings
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.hub.node import Node
from moorage.metrics import Metrics
from moorage.wire.dataplane import HUB_NAME
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, Origin
from moorage.wire.reasons import (
    BAD_REQUEST,
    ORIGIN_REFUSED,
    TOKEN_MISSING,
    UNKNOWN_HUB,
    UNKNOWN_PATH,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_VERSION,
)

_PATH: Final = re.compile(r"/clients/socketio/hubs/([^/]*)/?")
NOT_FORWARDED: Final = frozenset({"authorization", "proxy-authorization"})
"""Headers that stay here: they carry the credential that this service has checked already."""

Headers = Iterable[tuple[bytes, bytes]]


def is_client_path(path: str) -> bool:
    """Does the client edge answer this path (be it with a 404 of its own)?"""
    return path.startswith(("/clients/", "/socket.io/")) or path in ("/clients", "/socket.io")


class ClientDoor:
    """Decides who may ask an app server for a session."""

    def __init__(
        self,
        *,
        node: Node,
        keys: AccessKeys,
        auth_settings: AuthSettings,
        server: ServerSettings,
        cors: CorsSettings,
        default_hub: str,
        metrics: Metrics,
        wall_clock: Callable[[], float],
    ) -> None:
        self.node = node
        self.server = server
        self.metrics = metrics
        self._keys = keys
        self._auth = auth_settings
        self._origins = frozenset(cors.allow_origins)
        self._default_hub = default_hub
        self._wall_clock = wall_clock

    def hub_of(self, path: str) -> str:
        """The hub that a path names. Raises `PeerError` (unknown-path, unknown-hub)."""
        if path in ("/socket.io/", "/socket.io"):
            return self._default_hub
        match = _PATH.fullmatch(path)
        if match is None:
            raise PeerError(UNKNOWN_PATH, path[:128])
        hub = unquote(match[1])
        if not HUB_NAME.fullmatch(hub):
            raise PeerError(UNKNOWN_HUB, hub[:128])
        self.node.hub_settings(hub)
        return hub

    @staticmethod
    def check_query(query: Mapping[str, Sequence[str]], transport: str) -> str | None:
        """The session id of an Engine.IO request, None for a new session. Raises `PeerError`."""
        if query.get("EIO", [""])[0] != "4":
            raise PeerError(UNSUPPORTED_VERSION)
        if query.get("transport", [""])[0] != transport:
            raise PeerError(UNKNOWN_TRANSPORT)
        sid = query.get("sid")
        return sid[0] if sid else None

    def check_origin(self, origin: str) -> None:
        """For WebSockets, which browsers open to any origin. Raises `PeerError` (origin-refused)."""
        if origin and not self._allows(origin):
            raise PeerError(ORIGIN_REFUSED, origin[:128])

    def _allows(self, origin: str) -> bool:
        return "*" in self._origins or origin in self._origins

    def cors_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """What an answer to a page of `origin` carries, errors included: without it the page
        cannot even read what went wrong."""
        if not origin or not self._allows(origin):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]

    def handshake(
        self,
        hub: str,
        scheme: str,
        query: dict[str, list[str]],
        headers: Headers,
        *,
        target: str,
        address: Callable[[], str],
    ) -> Handshake:
        """Check the token, gather what the app server may know. `target` is path and query as they
        came, `address` the client's. Raises `PeerError` (token-*)."""

        def origin() -> Origin:
            return Origin(_without_token(target), address())

        gathered: dict[str, list[str]] = {}
        for name, value in headers:
            gathered.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        token = query.pop("access_token", [""])[0]
        authorization = gathered.get("authorization", [""])[0]
        # Only a bearer token is ours: a page behind Basic authentication sends that along.
        if not token and authorization[:7].lower() == "bearer ":
            token = auth.bearer(authorization)
        shown = {name: values for name, values in gathered.items() if name not in NOT_FORWARDED}
        if not token:
            if not self.node.hub_settings(hub).anonymous:
                raise PeerError(TOKEN_MISSING)
            return Handshake(query=query, headers=shown, origin=origin, secure=scheme == "https")
        claims = auth.verify(
            token,
            self._keys,
            auth.client_audience(self.base(scheme, gathered), hub),
            self._wall_clock(),
            self._auth.clock_skew,
        )
        return Handshake(
            query=query,
            headers=shown,
            claims=claims.all,
            user_id=claims.user_id,
            groups=claims.groups,
            origin=origin,
            secure=scheme == "https",
        )

    def base(self, scheme: str, headers: Mapping[str, Sequence[str]]) -> str:
        """The URL that a client of ours knows us by."""
        if self.server.public_endpoint:
            return self.server.public_endpoint
        host = headers.get("host")
        if not host:
            raise PeerError(BAD_REQUEST, "no Host header")
        return f"{scheme}://{host[0]}"


def _without_token(target: str) -> str:
    """Path and query without the credential. Names are compared decoded: the token counts under
    `access%5Ftoken`, too, and must not reach the app server's logs."""
    path, _, query = target.partition("?")
    if "access" not in query and "%" not in query:
        return target
    kept = "&".join(
        field for field in query.split("&") if unquote_plus(field.partition("=")[0]) != "access_token"
    )
    return f"{path}?{kept}" if kept else path
