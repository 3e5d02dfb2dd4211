"""Limits how often keys may be guessed from one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_TOO_MANY_TRIES

BURST: Final = 10
"""Number of wrong keys that an address may send at once."""
SECONDS: Final = 6.0
"""Seconds after which one more is allowed."""
MAX_ADDRESSES: Final = 10_000
"""Maximum number of remembered addresses. The oldest is forgotten for a new one."""


class Tries:
    """Counts wrong keys. Times are in seconds. An address that has used up its tries is refused even with the
    right key, or it could go on guessing and would only have to notice the right one. `network_of` gives
    what counts as one address: of IPv6, the network of a customer."""

    def __init__(self, network_of: Callable[[str], str]) -> None:
        self._network_of = network_of
        self._full_again: dict[str, float] = {}
        """When each address will have all its tries again."""

    def check(self, address: str, now: float) -> None:
        """Raises `PeerError` (admin-too-many-tries) if the address has no try left."""
        left = self._full_again.get(self._network_of(address), now) - now
        if left > (BURST - 1) * SECONDS:
            wait = int(left - (BURST - 1) * SECONDS) + 1
            raise PeerError(ADMIN_TOO_MANY_TRIES, f"try again in {wait} s")

    def wrong(self, address: str, now: float) -> None:
        """A wrong key came from the address."""
        network = self._network_of(address)
        full = max(now, self._full_again.pop(network, now)) + SECONDS
        if len(self._full_again) >= MAX_ADDRESSES:
            del self._full_again[next(iter(self._full_again))]
        self._full_again[network] = full
