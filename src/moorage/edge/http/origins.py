"""Which pages may connect, and which of them with the cookies that browsers add.

A browser opens a WebSocket for any page, and sends the cookies of the address with it. An app that trusts a
cookie would then act for a foreign page in its visitor's name. So a page that the operator has not listed may
connect, but its cookies are kept from the app."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from moorage.edge.settings import CorsSettings

ANY: Final = "*"
NULL: Final = "null"
"""The origin that browsers send for a page without one, such as a sandboxed frame or a file."""

# RFC 6454, 6.2, in lower case. The host is not limited to DNS names: an app's page may be `tauri://localhost`.
_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]{0,31})://((?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_WILDCARD: Final = "://*."


MAX_ORIGIN: Final = 300
"""Characters of a scheme, a host name of 253 and a port. A longer text is not an origin, and must not fill
the cache."""


def canonical(origin: str) -> str | None:
    """`origin` as browsers write it: lower case, without a default port. None if it is invalid."""
    return _canonical(origin) if len(origin) <= MAX_ORIGIN else None


@lru_cache(maxsize=1024)
def _canonical(origin: str) -> str | None:
    folded = origin.lower()
    if folded == NULL:
        return NULL
    match = _ORIGIN.fullmatch(folded)
    if match is None:
        return None
    scheme, host, port = match.groups()
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}"


def canonical_entry(text: str) -> str | None:
    """An entry of `cors.allow_origins` in the form that `Origins` compares: `*`, `null`, an origin, or a
    pattern such as `https://*.example.org`. None for anything else."""
    if text == ANY:
        return ANY
    if _WILDCARD in text:
        plain = canonical(text.replace(_WILDCARD, "://", 1))
        return None if plain is None or "[" in plain else plain.replace("://", _WILDCARD, 1)
    return canonical(text)


class Origins:
    """Decides for each request, by its `Origin` header."""

    def __init__(self, settings: CorsSettings, public_endpoint: str = "") -> None:
        self._any = ANY in settings.allow_origins
        self._all_trusted = self._any and settings.credentials == "any"
        self._exact = frozenset(entry for entry in settings.allow_origins if _WILDCARD not in entry)
        self._patterns = tuple(
            (f"{scheme}://", f".{rest}")
            for scheme, found, rest in (entry.partition(_WILDCARD) for entry in settings.allow_origins)
            if found
        )
        self._own = canonical(public_endpoint) if public_endpoint else None

    def allows(self, origin: str) -> bool:
        """True if a page of `origin` may connect."""
        return self._any or self.trusts(origin)

    def trusts(self, origin: str) -> bool:
        """True if a page of `origin` may connect with cookies: the origin is listed, or the service's own."""
        if self._all_trusted:
            return True
        plain = canonical(origin)
        return plain is not None and (plain == self._own or plain in self._exact or self._matches(plain))

    def _matches(self, plain: str) -> bool:
        return any(
            plain.startswith(scheme) and plain.endswith(rest) and len(plain) > len(scheme) + len(rest)
            for scheme, rest in self._patterns
        )

    def is_own(self, origin: str, host: str) -> bool:
        """True if the page was loaded from its target address. A page cannot choose the `Host`
        header, and cookies belong to the host, so no page gets the cookies of another site."""
        if self._own is not None:
            return canonical(origin) == self._own
        plain = canonical(origin)
        return plain is not None and plain in (canonical(f"https://{host}"), canonical(f"http://{host}"))
