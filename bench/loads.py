"""The loads of a fleet's clients: receive deliveries, or make acked round trips."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.fleet import Client, Fleet
from bench.frames import TICK, client_frame, server_frame, tick_frame

PATIENCE = 30.0
"""Seconds without an event before a load fails."""


class Deliveries:
    """Counts events of `size` bytes that arrive at the clients of a fleet."""

    def __init__(self, fleet: Fleet, size: int) -> None:
        self._fleet = fleet
        frame = tick_frame(size)
        self._length = len(frame)
        self._prefix = frame[: frame.index(TICK) + len(TICK) + 8]
        for client in fleet.clients:
            client.got = 0

    def wait(self, each: int, latencies: array[int] | None = None, since: int = 0) -> None:
        """Until every client has got `each` events more; no client may get more than that.

        With `latencies`, appends the nanoseconds from `since` to each delivery.
        Raises `BenchError` when nothing arrives for a while, or too much does.
        """
        clients = self._fleet.clients
        left = each * len(clients)
        while left > 0:
            ready = self._fleet.ready(PATIENCE)
            if not ready:
                raise BenchError(f"{left} of {each * len(clients)} deliveries did not arrive")
            for client in ready:
                got = self._count(client)
                client.got += got
                left -= got
                if latencies is not None and got:
                    latencies.append(time.perf_counter_ns() - since)
        if any(client.got != each for client in clients):
            raise BenchError("some client got an event twice and another not at all")
        for client in clients:
            client.got = 0

    def _count(self, client: Client) -> int:
        """Number of events in the readable bytes: nearly always equal frames, which `count` finds in C."""
        count = self._fleet.receive(client)
        if not client.pending and count % self._length == 0:
            frames = self._fleet.buffer.count(self._prefix, 0, count)
            if frames * self._length == count:
                return frames
        return sum(packet.startswith(TICK) for packet in self._fleet.packets(client, count))


def enter(fleet: Fleet, room: str, clients: Sequence[Client] = ()) -> None:
    """Some clients of a fleet, or all, ask their app server for a room, and wait until they are in it."""
    ask, answer = client_frame(b'421["enter","%s"]' % room.encode()), b"431[]"
    clients = clients or fleet.clients
    for client in clients:
        client.socket.send(ask)
    left = len(clients)
    while left:
        ready = fleet.ready(PATIENCE)
        if not ready:
            raise BenchError(f"{left} clients did not get into {room}")
        for client in ready:
            packets = fleet.packets(client, fleet.receive(client))
            if any(packet != answer for packet in packets):
                raise BenchError(f"unexpected packets instead of an ack: {packets!r}")
            left -= len(packets)


@dataclass(frozen=True)
class Trips:
    """Round trips of one window: seconds it took, and each trip's nanoseconds, sorted."""

    seconds: float
    latencies: array[int]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """The quantile of the trips' times, in nanoseconds."""
        return quantile(self.latencies, share)


def quantile(ordered: array[int], share: float) -> float:
    """The value at this share of an ordered, non-empty array."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


_IDS = range(10, 20)
"""Ack ids of the echoes, in turn. All have one length, so all frames have one length."""


def _ack(ident: int, size: int) -> bytes:
    return b'43%d["%s"]' % (ident, b"x" * size)


def echo_frames(size: int) -> tuple[list[bytes], list[bytes]]:
    """The frames that request an echo of `size` bytes, and the expected answers."""
    text = b"x" * size
    asks = [client_frame(b'42%d["echo","%s"]' % (ident, text)) for ident in _IDS]
    return asks, [server_frame(_ack(ident, size)) for ident in _IDS]


def round_trips(fleet: Fleet, clients: int, *, seconds: float, size: int, most: int = 500_000) -> Trips:
    """The first `clients` of a fleet echo a `size`-byte string, each with one trip under way, for `seconds`.

    An answer with another ack id than the one asked with raises `BenchError`.
    """
    asks, _ = echo_frames(size)
    answers = [_ack(ident, size) for ident in _IDS]
    clock = time.perf_counter_ns
    latencies = array("q")
    active = fleet.clients[:clients]
    began = clock()
    end = began + int(seconds * 1e9)
    for client in active:
        client.got = 0
        client.sent_at = clock()
        client.socket.send(asks[0])
    under_way = len(active)
    while under_way:
        ready = fleet.ready(PATIENCE)
        if not ready:
            raise BenchError(f"{under_way} acks did not arrive")
        for client in ready:
            for packet in fleet.packets(client, fleet.receive(client)):
                now = clock()
                latencies.append(now - client.sent_at)
                if packet != answers[client.got % 10]:
                    raise BenchError(f"a wrong ack: {packet[:60]!r}")
                client.got += 1
                if now < end and len(latencies) < most:
                    client.sent_at = now
                    client.socket.send(asks[client.got % 10])
                else:
                    under_way -= 1
    seconds = (clock() - began) / 1e9
    return Trips(seconds, array("q", sorted(latencies)))
