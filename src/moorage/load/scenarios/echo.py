"""Acked events: each client sends, and the server answers.

The server has to acknowledge the event: `socket.on("echo", (value, ack) => ack(value))`.
"""

from __future__ import annotations

from collections import deque

from moorage.load.client import Client, State
from moorage.load.crowd import clock
from moorage.load.pace import Pace
from moorage.load.scenarios.base import Scenario, Stage, pause_until, wait_for


class _Waiting:
    """What one client waits for: ack id -> intended time, and the times of events that could not be sent
    yet."""

    __slots__ = ("backlog", "next", "sent")

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}
        self.backlog: deque[int] = deque()
        self.next = 0


class Echo(Scenario):
    """Round trips. Without a rate, a client's next event follows its answer. With one, events have intended
    times; those of a client that already waits for `outstanding` answers go out late, and count from their
    intended time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._head, tail = self.dialect.emit(self.plan.event, "x" * self.plan.size)
        self._tail = tail
        self._expected = b'"' + b"x" * self.plan.size + b'"'
        self._turn = 0
        self._running: list[Client] = []

    async def load(self, since: int) -> None:
        """Send until the time is up."""
        self._running = self.live()
        for client in self._running:
            client.data = _Waiting()
        # A worker whose clients could not connect only waits: the others have their own part of the rate.
        if self.plan.rate and self._running:
            await Pace(self.plan.rate, since, self.until, self._offer, clock).run()
            return
        for client in self._running:
            for _ in range(self.plan.outstanding):
                self._send(client, client.data, clock())
        await pause_until(self.until)

    async def settle(self) -> None:
        """Wait for the last answers. What has none by then is lost."""
        self.until = 0
        await wait_for(self._is_quiet, self.plan.timeout)
        for client in self._running:
            self._give_up(client)

    def acked(self, client: Client, number: int, packet: bytes) -> None:
        """One round trip is done."""
        waiting: _Waiting | None = client.data
        if waiting is None or not (at := waiting.sent.pop(number, 0)):
            super().acked(client, number, packet)
            return
        now = clock()
        tally = self.tally
        if tally.since <= at < tally.until:
            tally.latency.record(now - at)
            tally.received += 1
        if self.plan.verify and self._expected not in packet:
            tally.count("wrong")
        if waiting.backlog:
            self._send(client, waiting, waiting.backlog.popleft())
        elif now < self.until and not self.plan.rate:
            self._send(client, waiting, now)

    def lost(self, client: Client, reason: str) -> None:
        """What the client waited for will not come."""
        super().lost(client, reason)
        self._give_up(client)

    def _offer(self, at: int) -> None:
        running = self._running
        client = running[self._turn % len(running)]
        self._turn += 1
        waiting: _Waiting = client.data
        if len(waiting.sent) >= self.plan.outstanding:
            waiting.backlog.append(at)
        else:
            self._send(client, waiting, at)

    def _send(self, client: Client, waiting: _Waiting, at: int) -> None:
        tally = self.tally
        if tally.since <= at < tally.until:
            tally.sent += 1
            if self.plan.rate:
                tally.lag.record(clock() - at)
        if client.state is not State.READY:
            # A client that is gone has failed its part of the load; the others do not take it over.
            tally.count("lost", int(tally.measures(at)))
            return
        number = waiting.next
        waiting.next = number + 1
        waiting.sent[number] = at
        client.send(b"%b%d%b" % (self._head, number, self._tail))

    def _is_quiet(self) -> bool:
        return not any(client.data.sent or client.data.backlog for client in self._running)

    def _give_up(self, client: Client) -> None:
        waiting: _Waiting | None = client.data
        if waiting is None:
            return
        since, until = self.tally.since, self.tally.until
        # An event of the warm-up that has no answer until now may be all that a waiting client has sent.
        early = sum(at < since for at in waiting.sent.values())
        unsent = sum(since <= at < until for at in waiting.backlog)
        self.tally.sent += unsent + early
        self.tally.count("lost", unsent + sum(at < until for at in waiting.sent.values()))
        waiting.sent.clear()
        waiting.backlog.clear()
