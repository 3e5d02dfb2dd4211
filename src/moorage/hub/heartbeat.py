"""Engine.IO's heartbeat, where it is the service's: one timing wheel for all connections.

A connection is looked at twice an interval, once to send its ping and once to see that the pong
came. A timer each would cost an object and two heap operations per ping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from moorage.engine.upgrade import State
from moorage.hub.fanout import Encoded, fan_out

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.outbox import Flusher
    from moorage.metrics import Metrics
    from moorage.wire.handshake import OpenInfo

SLOT_SECONDS: Final = 0.25
STALL_SECONDS: Final = 2.0
"""After a pause of our own as long as this, pongs may wait unread: nobody is blamed at once."""
LOOK_SECONDS: Final = 60.0
"""A connection that has ended is let go of at its next look, so none is further away than this: an app
server may name an interval of days."""

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

    def __init__(
        self, lost: Callable[[Connection], None], flusher: Flusher, metrics: Metrics, now: float
    ) -> None:
        self._lost = lost
        self._flusher = flusher
        self._metrics = metrics
        self._slots: dict[int, list[Connection]] = {}
        self._done = int(now / SLOT_SECONDS)
        """The last slot that was worked off."""

    def add(self, connection: Connection, terms: OpenInfo, now: float) -> None:
        """A session is open: its first ping is due after one interval."""
        connection.beat = Beat(terms.ping_interval / 1000, terms.ping_timeout / 1000, now)
        self._enter(connection, connection.beat.next, now)

    def _enter(self, connection: Connection, due: float, now: float) -> None:
        slot = max(self._done + 1, int(min(due, now + LOOK_SECONDS) / SLOT_SECONDS) + 1)
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
        pinged: list[Connection] = []
        for slot in due:
            for connection in self._slots.pop(slot):
                if self._look(connection, now, stalled=stalled):
                    pinged.append(connection)
        # Clients that came together are pinged together, all of a node after a restart: like any
        # large fan-out this must not keep the loop from everything else.
        fan_out(_PING, pinged, self._flusher, self._metrics)

    def _look(self, connection: Connection, now: float, *, stalled: bool) -> bool:
        """Is a ping due?"""
        beat = connection.beat
        if beat is None or connection.session.state == State.CLOSED:
            return False
        if beat.waiting:
            self._overdue(connection, beat, now, stalled=stalled)
            return False
        if now < beat.next:
            self._enter(connection, beat.next, now)
            return False
        beat.waiting = True
        beat.next, beat.deadline = now + beat.interval, now + beat.timeout
        self._enter(connection, min(beat.next, beat.deadline), now)
        return True

    def _overdue(self, connection: Connection, beat: Beat, now: float, *, stalled: bool) -> None:
        if stalled or connection.held:
            # Its pong may be there, but we have not been reading.
            beat.deadline = now + beat.timeout
        if now < beat.deadline:
            # Not at the deadline only: where the interval is the shorter one, a pong that took longer
            # must not put off the next ping until then.
            self._enter(connection, min(beat.deadline, now + beat.interval), now)
        else:
            self._lost(connection)

    def pong(self, connection: Connection) -> None:
        """The client answered."""
        if connection.beat is not None:
            connection.beat.waiting = False

    def read_on(self, connection: Connection, now: float) -> None:
        """The client is read again after it was held back: a pong may be the first that comes."""
        beat = connection.beat
        if beat is not None:
            beat.deadline = max(beat.deadline, now + min(beat.timeout, STALL_SECONDS))
