"""Clients that flood are read in turn, so that none of them fills the app server's link.

If a single read has more than `BURST` packets, the service stops reading from that client and appends it to a
queue of its app server. When the app server has taken the packets, the service reads from the first client in
the queue. So between two packets of ordinary clients there is at most one read of such a client, for any
number of them and any rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from moorage.engine.upgrade import State
from moorage.hub.hub import BURST as HELD_AS_BURST
from moorage.hub.hub import Client, Connection
from moorage.hub.ports import AppLink, Later

BURST: Final = 64
"""Maximum packets of an ordinary read, which has one or a few."""
PATIENCE: Final = 1.0
"""Seconds after which the next client is read even if the app server has not taken the packets, because
one unanswered event must not delay the others."""


class Bursts:
    """The queue of one app server. `resume` reads from a client again."""

    def __init__(self, link: AppLink[Client], later: Later, resume: Callable[[Connection], None]) -> None:
        self._link = link
        self._later = later
        self._resume = resume
        self._line: deque[Connection] = deque()
        self._moving = False
        self._turn = 0
        """Number of the current turn. An answer to an older turn is ignored."""
        self._since: float | None = None
        """Time at which `tick` first saw this turn."""

    def __len__(self) -> int:
        return len(self._line)

    def add(self, connection: Connection) -> None:
        """Append `connection` to the queue after a read with a burst."""
        if connection.held & HELD_AS_BURST or not connection.hold(HELD_AS_BURST):
            return
        self._line.append(connection)
        if not self._moving:
            self._moving = True
            self._wait(connection)

    def _wait(self, last: Connection) -> None:
        self._turn += 1
        self._since = None
        self._link.taken(last, partial(self._taken, self._turn))

    def _taken(self, turn: int) -> None:
        if turn == self._turn:
            self._turn += 1
            self._next()

    def tick(self, now: float) -> None:
        """Start the next turn if the current one takes too long."""
        if not self._moving:
            return
        if self._since is None:
            self._since = now
        elif now - self._since >= PATIENCE:
            self._taken(self._turn)

    def _next(self) -> None:
        while self._line:
            connection = self._line.popleft()
            if connection.session.state != State.CLOSED:
                self._resume(connection)
                # It is read in the next turn of the loop, which may come after the callbacks of that turn.
                self._later(self._one_more_turn)
                return
        self._moving = False

    def _one_more_turn(self) -> None:
        self._later(self._go_on)

    def _go_on(self) -> None:
        if self._line:
            # The packets of the last client are the newest that the app server must take.
            self._wait(self._line[-1])
        else:
            self._moving = False
