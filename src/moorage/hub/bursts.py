"""Clients that say very much at once take turns, so that one of them does not fill the app server's link.

A client whose single read held more than `BURST` packets is not read for now. It stands in line with
other such clients of its app server. When the app server has taken what they said, the first in line
is read again. So between two ordinary packets there is at most one read of one of these clients,
however many they are and however fast they send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from moorage.engine.upgrade import State
from moorage.hub.connection import BURST as HELD_AS_BURST

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.ports import AppLink, Later

BURST: Final = 64
"""Packets of one read. An ordinary client's read holds one or a few."""
PATIENCE: Final = 1.0
"""Seconds after which the next in line is read although the app server has not said that it has taken
what came before: one event that it never answers must not keep the others waiting."""


class Bursts:
    """The line of one app server. `resume` reads on from a client."""

    def __init__(self, link: AppLink, later: Later, resume: Callable[[Connection], None]) -> None:
        self._link = link
        self._later = later
        self._resume = resume
        self._line: deque[Connection] = deque()
        self._moving = False
        self._turn = 0
        """Number of the turn that is waited for. An answer to an older one comes too late."""
        self._since: float | None = None
        """When `tick` first saw this turn."""

    def __len__(self) -> int:
        return len(self._line)

    def add(self, connection: Connection) -> None:
        """A read of `connection` held a burst: it goes to the end of the line."""
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
        """Time passes: the turn that is waited for may take too long."""
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
            # The last one's packets are the newest that the app server has to take.
            self._wait(self._line[-1])
        else:
            self._moving = False
