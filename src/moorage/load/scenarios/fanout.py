"""Broadcasts: some clients publish, and all clients receive.

The server has to send what it gets to all clients of the namespace:
`socket.on("publish", (text) => io.emit("news", text))`. Any event will do that contains the text.
"""

from __future__ import annotations

from typing import Final

from moorage.load.client import Client, State
from moorage.load.crowd import clock
from moorage.load.pace import Pace
from moorage.load.packets import Stamp, stamp_of, stamped
from moorage.load.scenarios.base import Scenario, Stage, pause_until, wait_for
from moorage.load.sequence import Arrival, Sequence

QUIET_SECONDS: Final = 1.0
"""At the end, this long without a delivery means that no more will come."""


class Fanout(Scenario):
    """Deliveries, counted from the intended time of their broadcast. All messages are numbered from the
    first on, so that the command's process can tell from the sums of all workers how many are missing."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._senders: list[Client] = []
        self._published: dict[Client, int] = {}
        self._turn = 0
        self._last = b""
        self._stamp = Stamp(0, 0, 0)
        self._heard_at = 0

    async def load(self, since: int) -> None:
        """Publish until the time is up."""
        for client in self.live():
            client.data = {}
        self._senders = self.live()[: self.plan.senders]
        self._published = dict.fromkeys(self._senders, 0)
        if self._senders and self.plan.rate:
            await Pace(self.plan.rate, since, self.until, self._publish, clock).run()
        else:
            await pause_until(self.until)

    async def settle(self) -> None:
        """Wait until deliveries stop."""
        self._heard_at = clock()
        await wait_for(lambda: clock() - self._heard_at > QUIET_SECONDS * 1e9, self.plan.timeout)

    def event(self, client: Client, packet: bytes) -> None:
        """One delivery. All recipients get the same bytes, which are read once."""
        if packet != self._last:
            found = stamp_of(packet)
            if found is None:
                return
            self._last, self._stamp = packet, found
        self._delivered(client, self._stamp)

    def _delivered(self, client: Client, stamp: Stamp) -> None:
        numbers: dict[int, Sequence] | None = client.data
        if numbers is None:
            return
        sequence = numbers.get(stamp.sender)
        if sequence is None:
            sequence = numbers[stamp.sender] = Sequence()
        arrival = sequence.take(stamp.number)
        tally = self.tally
        self._heard_at = now = clock()
        if arrival is not Arrival.NEW:
            tally.count("repeated" if arrival is Arrival.REPEATED else "misordered")
        if arrival is not Arrival.REPEATED and tally.since <= stamp.at < tally.until:
            tally.received += 1
            self.took(now - stamp.at)

    def took(self, nanoseconds: int) -> None:
        """Note the latency of one delivery."""
        self.tally.latency.record(nanoseconds)

    def _publish(self, at: int) -> None:
        senders = self._senders
        client = senders[self._turn % len(senders)]
        self._turn += 1
        number = self._published[client]
        self._published[client] = number + 1
        tally = self.tally
        if tally.since <= at < tally.until:
            tally.sent += 1
            tally.lag.record(clock() - at)
        if client.state is State.READY:
            text = stamped(Stamp(client.number, number, at), self.plan.size)
            head, tail = self.dialect.emit(self.plan.event, text)
            client.send(head + tail)
