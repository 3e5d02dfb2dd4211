"""Messages per hub since the start of the node. A hub ends with its last client and app server and may come
back; its counters must not go back to 0 then, because readers compute rates from them. So they outlive it.
Strangers may create hubs if unlisted hubs are allowed, so the number of counters is limited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_TALLIES: Final = 1_000
"""Hubs with counters of their own, the first ones. All later ones share theirs."""


class Tally:
    """Engine.IO packets from and to the clients of a hub."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class Tallies:
    """The counters of all hubs of a node."""

    def __init__(self) -> None:
        self.by_name: dict[str, Tally] = {}
        """By the hub's name as it was first written, in the order of their beginnings."""
        self.rest = Tally()
        """Of all hubs without their own."""
        self._known: dict[str, Tally] = {}

    def expect(self, names: Iterable[str]) -> None:
        """These hubs get counters of their own before others, as long as there is place."""
        for name in names:
            self.of(name)

    def of(self, name: str) -> Tally:
        """The counters of a hub. Names compare without case."""
        found = self._known.get(name.casefold())
        if found is None:
            if len(self._known) >= MAX_TALLIES:
                return self.rest
            found = self._known[name.casefold()] = self.by_name[name] = Tally()
        return found
