"""The limits for clients: which addresses may connect, and how fast they and users may connect and send.

Each node counts for itself. If no limit is set, a connect costs a few comparisons here, and a message
nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from moorage.edge.limits.buckets import Buckets, read_rate
from moorage.edge.limits.networks import AccessList, counted_address
from moorage.edge.settings import ServerSettings
from moorage.hub.hub import Connection
from moorage.hub.rates import Bucket, Rate
from moorage.hub.settings import HubSettings
from moorage.wire import reasons
from moorage.wire.errors import PeerError

_rate: Final = lru_cache(maxsize=1024)(read_rate)


class Meter:
    """Counts the messages of one connection in the buckets of its client, its user and its address."""

    __slots__ = ("_buckets", "_clock")

    def __init__(self, buckets: tuple[tuple[str, Bucket], ...], clock: Callable[[], float]) -> None:
        self._buckets = buckets
        self._clock = clock

    def exceeded(self) -> str:
        """Counts a message. "" if it is allowed, else the limit that it exceeds."""
        now = self._clock()
        for name, bucket in self._buckets:
            if not bucket.take(now):
                return name
        return ""


class ClientLimits:
    """The limits of one node."""

    def __init__(self, server: ServerSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._connects = Buckets()
        self._messages: WeakValueDictionary[tuple[str, str, str, Rate], Bucket] = WeakValueDictionary()
        """Buckets live as long as one of their connections, so the number of connections bounds them."""
        self.reload(server)

    def reload(self, server: ServerSettings) -> None:
        """New lists, for clients that connect from now on."""
        found = AccessList(server.allow, server.deny)
        self._list = found if found else None

    def check_address(self, hub: str, settings: HubSettings, address: Callable[[], str]) -> None:
        """A client asks for a session in a hub with these settings. Raises `PeerError` (address-refused,
        too-many-connects)."""
        rate = settings.connects_per_address
        if not rate and self._list is None:
            return
        found = address()
        if self._list is not None and (setting := self._list.refused_by(found)):
            raise PeerError(reasons.ADDRESS_REFUSED, f"{setting}: {found[:64]}")
        self._check("connects_per_address", rate, hub, counted_address(found))

    def check_user(self, hub: str, settings: HubSettings, user: str | None) -> None:
        """The user of the client is known. Raises `PeerError` (too-many-connects)."""
        rate = settings.connects_per_user
        if rate and user is not None:
            self._check("connects_per_user", rate, hub, user)

    def _check(self, name: str, text: str, hub: str, key: str) -> None:
        rate = _rate(text)
        if rate is not None and not self._connects.take((name, hub.casefold(), key), rate, self._clock()):
            raise PeerError(reasons.TOO_MANY_CONNECTS, f"hubs.NAME.{name}: {text}")

    def meter(self, connection: Connection, address: Callable[[], str]) -> Meter | None:
        """What counts the messages of a new transport of this connection; None if there is no limit."""
        settings = connection.hub.settings
        if not settings.counts_messages:
            return None
        limits = (settings.messages_per_client, settings.messages_per_user, settings.messages_per_address)
        user = connection.user_id
        keys = (connection.id, user, counted_address(address()) if limits[2] else None)
        names = ("messages_per_client", "messages_per_user", "messages_per_address")
        found = [
            (f"hubs.NAME.{name}: {text}", self._bucket(name, connection.hub.name, key, rate))
            for name, text, key in zip(names, limits, keys, strict=True)
            if key is not None and (rate := _rate(text)) is not None
        ]
        return Meter(tuple(found), self._clock)

    def _bucket(self, name: str, hub: str, key: str, rate: Rate) -> Bucket:
        place = (name, hub.casefold(), key, rate)
        bucket = self._messages.get(place)
        if bucket is None:
            bucket = self._messages[place] = Bucket(rate, self._clock())
        return bucket
