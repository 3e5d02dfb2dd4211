"""The receivers of what comes over the links of one app server."""

from __future__ import annotations

from typing import Protocol

from moorage.wire.connection_string import ConnectionString
from moorage.wire.moorage.v1 import FromService, ServiceHello


class Receiver(Protocol):
    """Takes what comes over a link. Its methods must neither block nor raise."""

    def received(self, frames: list[FromService]) -> None:
        """One batch: Open, Packet, Closed, Left, Moved, Query, Told, Drain, and Failed with ref 0."""

    def session_lost(self, why: str) -> None:
        """All clients of the session are gone, without a Closed each. The next batch belongs to a
        new session. The service does not use the numbers of lost clients again."""

    def link_event(self, name: str, error: Exception | None) -> None:
        """`lost` and `restored`; `failed`: it will not come back (`error` says why)."""


class Owner(Protocol):
    """What a link asks of the app server that has several."""

    def where(self) -> tuple[ConnectionString, str]:
        """Where to dial, and the node that must answer; "" for any."""

    def greeted(self, hello: ServiceHello, *, new: bool) -> None:
        """The link is up, and its session is resumed or new. What this queues leaves first."""


class FleetReceiver(Receiver, Protocol):
    """Takes what comes over all links of an app server."""

    def clients_lost(self, slot: int, why: str) -> None:
        """All clients of one of several sessions are gone, without a Closed each."""
