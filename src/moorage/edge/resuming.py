"""Clients that were held back are read again a few at a time. Each takes about 2 us, most of it for a call of
the kernel: 20,000 clients in one turn of the loop would delay all others by 40 ms."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from moorage.hub.hub import Client
from moorage.hub.turns import Intake, Job, Turns

READ_AT_ONCE: Final = 200
"""Clients that are read again in one step."""


class Resuming:
    """The clients of one app server that are to be read again. `read` does it with one of them."""

    def __init__(self, turns: Turns, read: Callable[[Client], object]) -> None:
        self._intake = Intake(turns)
        self._read = read
        self._waiting: set[Client] = set()

    def add(self, clients: Collection[Client]) -> None:
        """Read these again: at once if they are few."""
        if len(clients) <= READ_AT_ONCE and not self._waiting:
            for client in clients:
                self._read(client)
            return
        self._waiting.update(clients)
        if not self._intake.busy:
            self._intake.add(self._reading())

    def forget(self, client: Client) -> None:
        """This client is held back again, or gone."""
        self._waiting.discard(client)

    def _reading(self) -> Job[None]:
        count = 0
        while self._waiting:
            self._read(self._waiting.pop())
            count += 1
            if count % READ_AT_ONCE == 0:
                yield False
