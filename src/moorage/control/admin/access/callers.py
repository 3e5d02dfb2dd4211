"""Finds out who sends a request: a program with a key, or a browser with a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request

from moorage import auth, logs
from moorage.control.admin.access.keys import AdminKeys, Role
from moorage.control.admin.access.tries import Tries
from moorage.logs_quota import Quota
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_CROSS_SITE, ADMIN_NO_KEY, ADMIN_WRONG_KEY

COOKIE: Final = "moorage_admin"
HEADER: Final = "x-moorage-admin"
"""A page of another origin cannot send this header without asking first, and gets no permission."""

LINES_PER_SECOND: Final = 0.1
LINES_AT_ONCE: Final = 20.0
"""Strangers with many addresses must not fill the log; `moorage_refusals_total` counts every wrong key."""

_SAFE: Final = frozenset({"GET", "HEAD"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
"""Values of `Sec-Fetch-Site` of the dashboard's own requests, and of addresses that a person types."""

log: Final = logs.get("audit")


class Caller(NamedTuple):
    """`expires`: the end of a browser's session in epoch seconds; None for a program."""

    role: Role
    address: str
    expires: float | None = None


class Callers:
    """Authenticates requests. `address_of` gives a request's address, `network_of` what counts as one address
    when keys are guessed, `clock` epoch seconds, `ticks` the seconds of a clock that is never set. `origin`
    is the setting `public_endpoint`."""

    def __init__(
        self,
        keys: AdminKeys,
        *,
        address_of: Callable[[Request], str],
        network_of: Callable[[str], str],
        clock: Callable[[], float],
        ticks: Callable[[], float],
        origin: str = "",
    ) -> None:
        self._keys = keys
        self._tries = Tries(network_of)
        self._lines = Quota(LINES_PER_SECOND, LINES_AT_ONCE)
        self.address_of = address_of
        self._clock = clock
        self._ticks = ticks
        self._origin = origin

    def caller(self, request: Request) -> Caller:
        """Who sends it. Raises `PeerError` with one of the admin reasons, of numbers 5100 to 5105."""
        authorization = request.headers.get("authorization", "")
        if authorization:
            try:
                key = auth.bearer(authorization)
            except PeerError:
                raise PeerError(ADMIN_NO_KEY, "expected Authorization: Bearer KEY") from None
            address = self.address_of(request)
            return Caller(self.role_of(key, address), address)
        token = request.cookies.get(COOKIE)
        if not token:
            raise PeerError(ADMIN_NO_KEY)
        session = self._keys.session(token, self._clock())
        self.check_site(request)
        return Caller(session.role, self.address_of(request), session.expires)

    def role_of(self, key: str, address: str) -> Role:
        """The role of a key. Raises `PeerError` (admin-wrong-key, admin-too-many-tries)."""
        now = self._ticks()
        self._tries.check(address, now)
        try:
            return self._keys.role_of(key)
        except PeerError as error:
            if error.reason is ADMIN_WRONG_KEY:
                self._tries.wrong(address, now)
                if self._lines.allows(now):
                    log.info("wrong key", address=address)
            raise

    def check_site(self, request: Request) -> None:
        """Browsers send the cookie by themselves, so a request that changes something must show that it comes
        from the dashboard. Raises `PeerError` (admin-cross-site)."""
        if request.method not in _SAFE and request.headers.get(HEADER) != "1":
            raise PeerError(ADMIN_CROSS_SITE, f"the header {HEADER}: 1 is missing")
        self.check_page(request)

    def check_page(self, request: Request) -> None:
        """If a browser tells which page sends a request, it must be one of this service. Raises `PeerError`
        (admin-cross-site)."""
        headers = request.headers
        site = headers.get("sec-fetch-site", "same-origin")
        if request.method not in _SAFE and site not in _OWN_SITE:
            raise PeerError(ADMIN_CROSS_SITE, f"Sec-Fetch-Site is {site[:32]}")
        origin = headers.get("origin", "")
        if origin and not self._is_own(origin, headers.get("host", "")):
            raise PeerError(ADMIN_CROSS_SITE, f"its Origin is {origin[:128]}")

    def _is_own(self, origin: str, host: str) -> bool:
        if self._origin and origin.lower() == self._origin.lower():
            return True
        try:
            url = urlsplit(origin)
        except ValueError:  # a broken IPv6 address
            return False
        return url.scheme in ("http", "https") and url.netloc.lower() == host.lower()
