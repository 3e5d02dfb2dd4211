"""The app servers' links with something to send. They are flushed at the end of a turn of the event loop, or
earlier if the turn is long: one turn reads all clients that have sent something, and if 8,000 clients answer
an emit at once, that takes 65 ms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.hub.ports import Later

PACKETS: Final = 256
"""Number of clients' packets after which `Flushes.now` is called in the middle of a turn."""

Flush = Callable[[], object]


class Flushes:
    """`later` makes a call at the end of this turn. `clients` flushes the clients' outboxes. `guard` makes a
    call that may fail without harm to others."""

    def __init__(self, later: Later, clients: Flush, guard: Callable[[str, Flush], object]) -> None:
        self._later = later
        self._clients = clients
        self._guard = guard
        self._links: list[Flush] = []

    def add(self, link: Flush) -> None:
        """Flush a link at the end of this turn, or before."""
        if not self._links:
            self._later(self._flush_links)
        self._links.append(link)

    def now(self) -> None:
        """In the middle of a long turn, write what is queued so far. Clients come first, because they wait
        for the data."""
        self._guard("clients", self._clients)
        self._flush_links()

    def _flush_links(self) -> None:
        links, self._links = self._links, []
        for link in links:
            self._guard("links", link)
