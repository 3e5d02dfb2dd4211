"""Engine.IO's heartbeat, where it is the service's: one timing wheel for all connections.

A connection is looked at twice an interval, once to send its ping and once to see that the pong
came. A timer each would cost an object and two heap operations per ping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from moorage.engine.upgrade import State
from moorage.hub.fanout import Encoded

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.wire.handshake import OpenInfo

SLOT_SECONDS: Final = 0.25
STALL_SECONDS: Final = 2.0
"""After a pause of our own as long as this, pongs may wait unread: nobody is blamed at once."""

_PING: Final = Encoded(b"2")


class Beat:
    """One connection's heartbeat: times in seconds."""

    __slots__ = ("deadline", "interval", "next", "timeout", "waiting")

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self.next = now + interval
        """When the next ping is due."""
        self.waiting = False
        """A ping is out and its pong has not come."""
        self.deadline = 0.0
        """Until when it must."""


class Heartbeat:
    """`lost` is called with each connection that did not answer."""

    def __init__(self, lost: Callable[[Connection], None], now: float) -> None:
        self._lost = lost
        self._slots: dict[int, list[Connection]] = {}
        self._done = int(now / SLOT_SECONDS)
        """The last slot that was worked off."""

    def add(self, connection: Connection, terms: OpenInfo, now: float) -> None:
        """A session is open: its first ping is due after one interval."""
        connection.beat = Beat(terms.ping_interval / 1000, terms.ping_timeout / 1000, now)
        self._enter(connection, connection.beat.next)

    def _enter(self, connection: Connection, due: float) -> None:
        slot = max(self._done + 1, int(due / SLOT_SECONDS) + 1)
        self._slots.setdefault(slot, []).append(connection)

    def tick(self, now: float) -> None:
        """Work off all slots up to `now`."""
        last = int(now / SLOT_SECONDS)
        stalled = (last - self._done) * SLOT_SECONDS > STALL_SECONDS
        if last - self._done > len(self._slots):
            due = sorted(slot for slot in self._slots if slot <= last)
        else:
            due = [slot for slot in range(self._done + 1, last + 1) if slot in self._slots]
        self._done = last
        for slot in due:
            for connection in self._slots.pop(slot):
                self._look(connection, now, stalled=stalled)

    def _look(self, connection: Connection, now: float, *, stalled: bool) -> None:
        beat = connection.beat
        if beat is None or connection.session.state == State.CLOSED:
            return
        if beat.waiting:
            self._overdue(connection, beat, now, stalled=stalled)
        elif now < beat.next:
            self._enter(connection, beat.next)
        else:
            beat.waiting = True
            beat.next, beat.deadline = now + beat.interval, now + beat.timeout
            connection.outbox.push(_PING)
            self._enter(connection, min(beat.next, beat.deadline))

    def _overdue(self, connection: Connection, beat: Beat, now: float, *, stalled: bool) -> None:
        if stalled or connection.held:
            # Its pong may be there, but we have not been reading.
            beat.deadline = now + beat.timeout
        if now < beat.deadline:
            self._enter(connection, beat.deadline)
        else:
            self._lost(connection)

    def pong(self, connection: Connection) -> None:
        """The client answered."""
        if connection.beat is not None:
            connection.beat.waiting = False
