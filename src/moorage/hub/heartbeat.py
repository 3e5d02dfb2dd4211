"""Engine.IO's heartbeat, where it is the service's: one timing wheel for all connections.

A connection is looked at twice an interval, once to send its ping and once to see that the pong
came. A timer each would cost an object and two heap operations per ping. Slots are numbered in
milliseconds, and only those that hold somebody exist. The wheel asks its owner to be woken for the
first of them, so a service without clients is not woken at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from moorage.engine.upgrade import State
from moorage.hub.fanout import Encoded, fan_out

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.outbox import Flusher
    from moorage.hub.ports import Faults
    from moorage.wire.handshake import OpenInfo

GRAIN_MS: Final = 10
"""Looks are rounded up to multiples of this, so that connections share slots."""
GRAINS_PER_INTERVAL: Final = 250
"""With short intervals a look is rounded more finely: to this part of the interval, or to 1 ms."""
STALL_SECONDS: Final = 2.0
"""After a pause of our own as long as this, pongs may wait unread: nobody is blamed at once."""
LOOK_SECONDS: Final = 60.0
"""The wheel forgets a connection that has ended at its next look, so none is further away than this:
an app server may name an interval of days."""

_PING: Final = Encoded(b"2")
_ANSWERED, _WAITING, _DOUBTED = 0, 1, 2
_NEVER: Final = 2**63


class Heartbeat:
    """One connection's heartbeat: times in seconds."""

    __slots__ = ("deadline", "interval", "next", "owner", "state", "timeout")

    def __init__(self, owner: Connection, interval: float, timeout: float, now: float) -> None:
        self.owner: Connection | None = owner
        """None after the connection's end, so that the wheel keeps nothing of it alive."""
        self.interval = interval
        self.timeout = timeout
        self.next = now + interval
        """When the next ping is due."""
        self.state = _ANSWERED
        """`_WAITING`: a ping is out and its pong has not come. `_DOUBTED`: the pong is overdue, and
        the loop reads its sockets once more before the verdict."""
        self.deadline = 0.0
        """When the pong is overdue."""


class Heartbeats:
    """Calls `lost` with each connection that did not answer. `tick` is due at the time that `wake_at`
    was last called with, and is called a few times a second besides: a long gap between two calls
    shows that the process was asleep."""

    def __init__(
        self,
        lost: Callable[[Connection], None],
        flusher: Flusher,
        faults: Faults,
        now: float,
    ) -> None:
        self.wake_at: Callable[[float], object] = lambda when: None
        """Set by the owner of the event loop. A new call replaces the last."""
        self._lost = lost
        self._flusher = flusher
        self._faults = faults
        self._slots: dict[int, list[Heartbeat]] = {}
        self._order: list[int] = []
        """The numbers of all slots, as a heap."""
        self._armed = _NEVER
        """The slot that `wake_at` was last called for."""
        self._ticked = now

    def add(self, connection: Connection, terms: OpenInfo, now: float) -> None:
        """A session is open: its first ping is due after one interval."""
        heartbeat = Heartbeat(connection, terms.ping_interval / 1000, terms.ping_timeout / 1000, now)
        connection.heartbeat = heartbeat
        self._enter(heartbeat, heartbeat.next, now)

    def remove(self, connection: Connection) -> None:
        """The session has ended."""
        heartbeat, connection.heartbeat = connection.heartbeat, None
        if heartbeat is not None:
            heartbeat.owner = None

    def _enter(self, heartbeat: Heartbeat, due: float, now: float) -> None:
        grain = max(1, min(GRAIN_MS, int(heartbeat.interval * 1000 / GRAINS_PER_INTERVAL)))
        self._put(heartbeat, int(min(due, now + LOOK_SECONDS) * 1000 / grain) * grain + grain)

    def _put(self, heartbeat: Heartbeat, slot: int) -> None:
        found = self._slots.get(slot)
        if found is not None:
            found.append(heartbeat)
            return
        self._slots[slot] = [heartbeat]
        heapq.heappush(self._order, slot)
        if slot < self._armed:
            self._arm(slot)

    def _arm(self, slot: int) -> None:
        self._armed = slot
        self.wake_at(slot / 1000)

    def tick(self, now: float) -> None:
        """Work off all slots up to `now`."""
        order = self._order
        stalled = now - self._ticked > STALL_SECONDS
        self._ticked = now
        due: list[Heartbeat] = []
        while order and order[0] / 1000 <= now:
            due += self._slots.pop(heapq.heappop(order))
        if due:
            # Armed once, for all that enter the wheel here.
            self._armed = 0
            self._look_at(due, now, stalled=stalled)
            self._armed = _NEVER
            if order:
                self._arm(order[0])

    def _look_at(self, due: list[Heartbeat], now: float, *, stalled: bool) -> None:
        pinged: list[Connection] = []
        for heartbeat in due:
            connection = heartbeat.owner
            try:
                if connection is not None and self._look(connection, heartbeat, now, stalled=stalled):
                    pinged.append(connection)
            except Exception as error:
                self._faults("heartbeat", error)
        # Clients that came together are pinged together, all of a node after a restart: like any
        # large fan-out this must not keep the loop from everything else.
        fan_out(_PING, pinged, self._flusher)

    def _look(self, connection: Connection, heartbeat: Heartbeat, now: float, *, stalled: bool) -> bool:
        """Is a ping due?"""
        if connection.session.state == State.CLOSED:
            return False
        if heartbeat.state != _ANSWERED:
            self._overdue(connection, heartbeat, now, stalled=stalled)
            return False
        if now < heartbeat.next:
            self._enter(heartbeat, heartbeat.next, now)
            return False
        heartbeat.state = _WAITING
        heartbeat.next, heartbeat.deadline = now + heartbeat.interval, now + heartbeat.timeout
        self._enter(heartbeat, min(heartbeat.next, heartbeat.deadline), now)
        return True

    def _overdue(self, connection: Connection, heartbeat: Heartbeat, now: float, *, stalled: bool) -> None:
        if stalled or connection.held:
            # Its pong may be there, but we have not been reading.
            heartbeat.deadline = now + heartbeat.timeout
        if now < heartbeat.deadline:
            heartbeat.state = _WAITING
            # Not at the deadline only: where the interval is the shorter one, a pong that took longer
            # must not put off the next ping until then.
            self._enter(heartbeat, min(heartbeat.deadline, now + heartbeat.interval), now)
        elif heartbeat.state == _WAITING:
            # The loop may have been busy while the pong came in. It reads all sockets before the
            # next tick.
            heartbeat.state = _DOUBTED
            self._put(heartbeat, int(now * 1000) + 2)
        else:
            self._lost(connection)

    def pong(self, connection: Connection) -> None:
        """The client answered."""
        if connection.heartbeat is not None:
            connection.heartbeat.state = _ANSWERED

    def is_overdue(self, connection: Connection, now: float) -> bool:
        """Will the next ticks close the connection, unless a pong is on its way?"""
        heartbeat = connection.heartbeat
        return (
            heartbeat is not None
            and heartbeat.state != _ANSWERED
            and now >= heartbeat.deadline
            and not connection.held
        )

    def read_on(self, connection: Connection, now: float) -> None:
        """The client is read again after it was held back: a pong may be the first that comes."""
        heartbeat = connection.heartbeat
        if heartbeat is not None:
            heartbeat.deadline = max(heartbeat.deadline, now + min(heartbeat.timeout, STALL_SECONDS))
