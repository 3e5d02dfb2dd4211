"""Checks of a client's request before it has a session, for both transports: path, origin, token,
handshake."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final
from urllib.parse import unquote, unquote_plus

from moorage import auth
from moorage.auth import AccessKeys, AuthSettings, Claims
from moorage.edge.clients.log import ClientLog
from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.http.origins import Origins
from moorage.edge.limits.clients import ClientLimits, Meter
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.hub.hub import Connection
from moorage.hub.node import Node
from moorage.hub.settings import HubSettings
from moorage.wire import reasons
from moorage.wire.authority import check_host
from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, Origin

_PATH: Final = re.compile(r"/clients/socketio/hubs/([^/]*)/?")
_ADMIN_PATHS: Final = ("/admin/socket.io/", "/admin/socket.io")
"""For Socket.IO's Admin UI."""
_CLIENT_PATHS: Final = ("/clients", "/socket.io", *_ADMIN_PATHS)
NOT_FORWARDED: Final = "proxy-authorization"
"""A header that is kept from the app. `Authorization` is, only if it holds a token of this service."""
_AMBIENT: Final = frozenset({"basic", "digest", "negotiate", "ntlm"})
"""Schemes of `Authorization` that browsers add without a script, like cookies. A page of a foreign origin
must not be able to use them."""
IN_QUERY: Final = "the query parameter `access_token`"
IN_HEADER: Final = "the header `Authorization` (scheme `Bearer`)"
"""Not `Authorization: Bearer`: the log would redact the text after the colon as a secret."""

_NONE: Final = ("",)
"""The values of a header, or of a field of a query, that is missing."""

Fields = Mapping[str, Sequence[str]]
"""The values of each header, by its name in lower case."""


def is_client_path(path: str) -> bool:
    """True if this path belongs to clients, even if the answer is a 404."""
    return path.startswith(("/clients/", "/socket.io/")) or path in _CLIENT_PATHS


class Admission:
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
        log: ClientLog,
        wall_clock: Callable[[], float],
    ) -> None:
        self.node = node
        self.server = server
        self.log = log
        self._keys = keys
        self._auth = auth_settings
        self._origins = Origins(cors, server.public_endpoint)
        self._proxies = TrustedProxies(server.trusted_proxies)
        self._behind_proxies = bool(self._proxies)
        self._default_hub = default_hub
        self._wall_clock = wall_clock
        self.admin_hub = ""
        """The hub of Socket.IO's Admin UI; empty if it may not connect."""
        self.client_limits = ClientLimits(server, node.clock)
        self.refused: Callable[[str, str, bool, PeerError], object] = _nobody
        """Called for each client that is refused here, with the hub, the token ("" if there is none), and
        whether the token is valid."""

    def hub_of(self, path: str) -> str:
        """The hub that a path names. Raises `PeerError` (unknown-path, unknown-hub)."""
        if path in ("/socket.io/", "/socket.io"):
            return self._default_hub
        if path in _ADMIN_PATHS and self.admin_hub:
            return self.admin_hub
        hub = _hub_in(path)
        if not self.node.allow_unlisted:
            self.node.hub_settings(hub)
        return hub

    @staticmethod
    def check_query(query: Mapping[str, Sequence[str]], transport: str) -> str | None:
        """The session id of an Engine.IO request, None for a new session. Raises `PeerError`."""
        if query.get("EIO", _NONE)[0] != "4":
            raise PeerError(reasons.UNSUPPORTED_VERSION)
        if query.get("transport", _NONE)[0] != transport:
            raise PeerError(reasons.UNKNOWN_TRANSPORT)
        sid = query.get("sid")
        return sid[0] if sid else None

    def check_origin(self, origin: str) -> None:
        """Check a WebSocket request: browsers open WebSockets for any page. Raises `PeerError`
        (origin-refused)."""
        if origin and not self._origins.allows(origin):
            raise PeerError(reasons.ORIGIN_REFUSED, origin[:128])

    def cors_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """The CORS headers of every answer to a page of `origin`. Without them the page cannot read an
        error."""
        if not origin or not self._origins.allows(origin):
            return []
        allowed = origin.encode("latin-1", "replace")
        headers = [(b"access-control-allow-origin", allowed), (b"vary", b"Origin")]
        if self._origins.trusts(origin):
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def handshake(
        self,
        hub: str,
        scheme: str,
        query: dict[str, list[str]],
        fields: Fields,
        *,
        target: str,
        address: Callable[[], str],
    ) -> Handshake:
        """Check the token and gather what the app server may know. `fields` are the headers, `target` is path
        and query as received, `address` gives the peer's. Takes our token out of `query`. Raises `PeerError`
        (token-*, address-refused, too-many-connects)."""
        headers = dict(fields)
        settings = self.node.settings_of(hub)
        client_address = partial(self._client_address, fields, address) if self._behind_proxies else address
        claims, query_is_ours = None, True
        try:
            # First, because a signature costs more to check than an address.
            self.client_limits.check_address(hub, settings, client_address)
            if "access_token" in query or "authorization" in headers:
                claims, query_is_ours = self._claims(hub, settings, scheme, query, headers)
                self.client_limits.check_user(hub, settings, None if claims is None else claims.user_id)
            elif not settings.anonymous:
                raise _token_wanted({})
            check_host(fields.get("host", ()))
        except PeerError as error:
            token = query.get("access_token", _NONE)[0] or _bearer(fields)
            self.refused(hub, token, claims is not None, error)
            raise
        if query_is_ours:
            query.pop("access_token", None)
        if "cookie" in headers or "authorization" in headers:
            self._hide_from_foreign_pages(headers)
        headers.pop(NOT_FORWARDED, None)
        if self._behind_proxies:
            scheme = self._proxies.scheme(address(), headers, scheme)
        secure = scheme == "https"
        origin = partial(_origin, target, client_address, query_is_ours=query_is_ours)
        if claims is None:
            return Handshake(query=query, headers=headers, origin=origin, secure=secure)
        return Handshake(
            query=query,
            headers=headers,
            claims=claims.all,
            user_id=claims.user_id,
            groups=claims.groups,
            origin=origin,
            secure=secure,
        )

    def meter(self, connection: Connection, fields: Fields, address: Callable[[], str]) -> Meter | None:
        """What counts the messages of a new transport; None if its hub has no limit."""
        if not connection.hub.settings.counts_messages:
            return None
        return self.client_limits.meter(connection, partial(self._client_address, fields, address))

    def _client_address(self, fields: Fields, address: Callable[[], str]) -> str:
        return self._proxies.client(address(), fields)

    def _claims(
        self,
        hub: str,
        settings: HubSettings,
        scheme: str,
        query: dict[str, list[str]],
        headers: dict[str, Sequence[str]],
    ) -> tuple[Claims | None, bool]:
        """The client's claims (None for an anonymous client), and False if the query parameter `access_token`
        is the app's own. Takes our token out of `headers`. Raises `PeerError` (token-*)."""
        claims: Claims | None = None
        refused: dict[str, PeerError] = {}
        for place, token in ((IN_QUERY, query.get("access_token", _NONE)[0]), (IN_HEADER, _bearer(headers))):
            if not token:
                continue
            if claims is not None:
                ours = auth.is_addressed(token, self._keys)
            else:
                claims, error = self._read_token(token, hub, scheme, headers)
                ours = error is None
                if error is not None:
                    refused[place] = error
            if ours and place is IN_HEADER:
                del headers["authorization"]
        if claims is None and not settings.anonymous:
            raise _token_wanted(refused)
        return claims, IN_QUERY not in refused

    def _read_token(
        self, token: str, hub: str, scheme: str, headers: Mapping[str, Sequence[str]]
    ) -> tuple[Claims | None, PeerError | None]:
        """The claims of a token, or what is wrong with it if it may be the app's own. Raises `PeerError` if
        it is addressed to this service: a client must not become anonymous because its token expired."""
        audience = auth.client_audience(self.base(scheme, headers), hub)
        try:
            return auth.verify(token, self._keys, audience, self._wall_clock(), self._auth.clock_skew), None
        except PeerError as error:
            if error.reason is reasons.TOKEN_AUDIENCE:
                base = self.base(scheme, headers)[:256]
                fix = f"`moorage token create --hub {hub} --endpoint {base}` makes one that fits"
                raise PeerError(error.reason, f"{error.detail}; {fix}") from None
            if auth.is_addressed(token, self._keys):
                raise
            return None, error

    def _hide_from_foreign_pages(self, headers: dict[str, Sequence[str]]) -> None:
        """Remove what a visitor's browser adds by itself, if the page is of an origin that is not trusted."""
        origins = headers.get("origin")
        if not origins or all(map(self._origins.trusts, origins)):
            return
        if len(origins) == 1 and self._origins.is_own(origins[0], headers.get("host", _NONE)[0]):
            return
        headers.pop("cookie", None)
        schemes = {value.partition(" ")[0].lower() for value in headers.get("authorization", ())}
        if schemes & _AMBIENT:
            del headers["authorization"]

    def base(self, scheme: str, headers: Mapping[str, Sequence[str]]) -> str:
        """The URL by which clients reach the service."""
        if self.server.public_endpoint:
            return self.server.public_endpoint
        host = headers.get("host")
        if not host:
            raise PeerError(reasons.BAD_REQUEST, "no Host header")
        return f"{scheme}://{host[0]}"


def _nobody(hub: str, token: str, is_valid: bool, error: PeerError) -> None:
    """Report nothing."""


# Clients use the same few paths. A path is only kept if it names a hub, so its length is limited.
@lru_cache(maxsize=1024)
def _hub_in(path: str) -> str:
    match = _PATH.fullmatch(path)
    if match is None:
        raise PeerError(reasons.UNKNOWN_PATH, path[:128])
    hub = unquote(match[1])
    if not HUB_NAME.fullmatch(hub):
        raise PeerError(reasons.UNKNOWN_HUB, hub[:128])
    return hub


def _origin(target: str, address: Callable[[], str], *, query_is_ours: bool) -> Origin:
    return Origin(_without_token(target) if query_is_ours else target, address())


def _bearer(headers: Mapping[str, Sequence[str]]) -> str:
    """The token of an `Authorization` header with the scheme `Bearer`, or ""."""
    value = headers.get("authorization", _NONE)[0]
    return value[7:].strip() if value[:7].lower() == "bearer " else ""


def _token_wanted(refused: Mapping[str, PeerError]) -> PeerError:
    """For a hub without anonymous clients. `refused`: tokens that may be the app's own, by their place."""
    if not refused:
        return PeerError(reasons.TOKEN_MISSING, f"send it as {IN_QUERY} or as {IN_HEADER}")
    error = next(iter(refused.values()))
    free = next((place for place in (IN_QUERY, IN_HEADER) if place not in refused), "one of the two")
    taken = " and ".join(refused)
    hint = f"if {taken} holds a token of your app, send the service's access token beside it as {free}"
    return PeerError(error.reason, f"{error.detail}; {hint}" if error.detail else hint)


def _without_token(target: str) -> str:
    """Path and query without the token, which must not reach the app server's logs. Names are decoded before
    the comparison, because `access%5Ftoken` names the token, too."""
    if "access" not in target and "%" not in target:
        return target
    path, _, query = target.partition("?")
    kept = "&".join(
        field for field in query.split("&") if unquote_plus(field.partition("=")[0]) != "access_token"
    )
    return f"{path}?{kept}" if kept else path
