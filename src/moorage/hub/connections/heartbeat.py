"""Engine.IO's heartbeat, if the service keeps it: one timing wheel for all connections.

The wheel checks each connection twice per interval: once to send its ping, once to see that the pong has
arrived. A timer per connection would cost an object and two heap operations per ping. A slot is a time in
milliseconds, and only slots with connections exist. The wheel asks its owner for a call at the time of the
first slot, so a service without clients is never woken."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from moorage.engine.upgrade import State
from moorage.hub.connections.fanout import Delivery
from moorage.hub.hub import ANSWERED, DOUBTED, WAITING, Client, Connection, Heartbeat, Hub
from moorage.hub.outbox import Flusher
from moorage.hub.ports import Faults
from moorage.hub.turns import AT_ONCE
from moorage.wire.handshake import OpenInfo

GRAIN_MS: Final = 10
"""Checks are rounded up to multiples of this, so that connections share slots."""
GRAINS_PER_INTERVAL: Final = 250
"""With short intervals the rounding is finer: the interval divided by this number, or 1 ms."""
_COARSE: Final = GRAIN_MS * GRAINS_PER_INTERVAL / 1000
"""Seconds of the shortest interval without a finer rounding."""
STALL_SECONDS: Final = 2.0
"""After the process has paused this long, pongs may wait unread, so no connection is closed at once."""
LOOK_SECONDS: Final = 60.0
"""Longest time to the next check. The wheel forgets an ended connection at its next check, and an app server
may set an interval of days."""

_NEVER: Final = 2**63


class Heartbeats:
    """The timing wheel. It calls `lost` with each connection that did not answer. Its owner calls `tick` at
    the time last given to `wake_at`, and also a few times a second: a long gap between two calls shows that
    the process was asleep."""

    def __init__(
        self, lost: Callable[[Connection], None], flusher: Flusher[Connection], faults: Faults, now: float
    ) -> None:
        self.wake_at: Callable[[float], object] = lambda when: None
        """Asks for a `tick` at this time, instead of the time asked for before. Set by the owner."""
        self._lost = lost
        self._ping = Delivery(b"2", flusher)
        self._faults = faults
        self._slots: dict[int, list[Heartbeat]] = {}
        self._order: list[int] = []
        """The times of all slots, as a heap."""
        self._armed = _NEVER
        """The slot of the last call of `wake_at`."""
        self._ticked = now
        self._may_end = AT_ONCE
        """Number of connections that this tick may still close. The network between the service and
        thousands of clients may fail at once."""

    def add(self, connection: Connection, terms: OpenInfo, now: float) -> None:
        """A session is open. Its first ping is due after one interval."""
        heartbeat = Heartbeat(connection, terms.ping_interval / 1000, terms.ping_timeout / 1000, now)
        connection.heartbeat = heartbeat
        self._enter(heartbeat, heartbeat.next, now)

    def remove(self, connection: Connection) -> None:
        """The session has ended."""
        heartbeat, connection.heartbeat = connection.heartbeat, None
        if heartbeat is not None:
            heartbeat.owner = None

    def _enter(self, heartbeat: Heartbeat, due: float, now: float) -> None:
        grain = GRAIN_MS
        if heartbeat.interval < _COARSE:
            grain = max(1, int(heartbeat.interval * 1000 / GRAINS_PER_INTERVAL))
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
        """Check all connections in the slots up to `now`."""
        order = self._order
        stalled = now - self._ticked > STALL_SECONDS
        self._ticked = now
        due: list[Heartbeat] = []
        while order and order[0] / 1000 <= now:
            due += self._slots.pop(heapq.heappop(order))
        if due:
            # Call `wake_at` once for all connections that enter the wheel in this loop.
            self._armed = 0
            self._look_at(due, now, stalled=stalled)
            self._armed = _NEVER
            if order:
                self._arm(order[0])

    def _look_at(self, due: list[Heartbeat], now: float, *, stalled: bool) -> None:
        pinged: dict[Hub, list[Connection]] = {}
        self._may_end = AT_ONCE
        for heartbeat in due:
            connection = heartbeat.owner
            try:
                if connection is not None and self._look(connection, heartbeat, now, stalled=stalled):
                    pinged.setdefault(connection.hub, []).append(connection)
            except Exception as error:
                self._faults("heartbeat", error)
        # Clients that connected together are pinged together, after a restart all of a node's clients. Like
        # any large fan-out, this is written in slices.
        among = sum(map(len, pinged.values()))
        for some in pinged.values():
            self._ping.to(some, among=among)

    def _look(self, connection: Connection, heartbeat: Heartbeat, now: float, *, stalled: bool) -> bool:
        """Check one connection. True if a ping is due."""
        if connection.session.state == State.CLOSED:
            return False
        if heartbeat.state != ANSWERED:
            self._overdue(connection, heartbeat, now, stalled=stalled)
            return False
        if now < heartbeat.next:
            self._enter(heartbeat, heartbeat.next, now)
            return False
        heartbeat.state = WAITING
        heartbeat.next, heartbeat.deadline = now + heartbeat.interval, now + heartbeat.timeout
        self._enter(heartbeat, min(heartbeat.next, heartbeat.deadline), now)
        return True

    def _overdue(self, connection: Connection, heartbeat: Heartbeat, now: float, *, stalled: bool) -> None:
        if stalled or connection.held:
            # Its pong may have arrived, but was not read.
            heartbeat.deadline = now + heartbeat.timeout
        if now < heartbeat.deadline:
            heartbeat.state = WAITING
            # If the interval is shorter than the timeout, a late pong must not delay the next ping until the
            # deadline.
            self._enter(heartbeat, min(heartbeat.deadline, now + heartbeat.interval), now)
        elif heartbeat.state == WAITING:
            # The loop may have been busy when the pong arrived. It reads all sockets before the next tick.
            heartbeat.state = DOUBTED
            self._put(heartbeat, int(now * 1000) + 2)
        elif self._may_end:
            self._may_end -= 1
            self._lost(connection)
        else:
            self._put(heartbeat, int(now * 1000) + 2)

    def is_overdue(self, connection: Connection, now: float) -> bool:
        """True if the next ticks will close the connection, unless its pong arrives."""
        heartbeat = connection.heartbeat
        return (
            heartbeat is not None
            and heartbeat.state != ANSWERED
            and now >= heartbeat.deadline
            and not connection.held
        )

    def read_on(self, connection: Client, now: float) -> None:
        """The client is read again after a pause. Its pong may be in what is read first, so it gets time."""
        heartbeat = connection.heartbeat
        if heartbeat is not None:
            heartbeat.deadline = max(heartbeat.deadline, now + min(heartbeat.timeout, STALL_SECONDS))
