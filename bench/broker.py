"""What a message between two nodes costs: CPU to publish and to receive it, over a real NATS server.

Run with `python -m bench.broker`. Both nodes are in this process, so its CPU is that of the sender and of the
receiver. The rows are interleaved, so that all of them meet the same machine.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Final

import uvloop

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.settings import ClusterSettings
from moorage.cluster.streams.streams import Receive, Streams
from tests.support.nats_server import NatsServer

SIZE: Final = 150
BURSTS: Final = 200
BURST: Final = 100
"""Messages that are sent in one turn of the loop."""
ROUNDS: Final = 7


class Count:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.received = 0
        self.wanted = 0
        self.done = asyncio.Event()

    def __call__(self, *_message: object) -> None:
        self.received += 1
        if self.received == self.wanted:
            self.done.set()


async def measure(send: Callable[[bytes], object], count: Count) -> float:
    """Microseconds of CPU per message, in bursts of which each waits for its end."""
    message = b"x" * SIZE
    began = time.process_time()
    for _ in range(BURSTS):
        count.wanted = count.received + BURST
        count.done.clear()
        for _ in range(BURST):
            send(message)
        await count.done.wait()
    return (time.process_time() - began) / BURSTS / BURST * 1e6


async def run() -> None:
    """Print a row for each way to send."""
    with NatsServer() as server:
        brokers = [
            NatsBroker(ClusterSettings(nats_url=(server.url,), name=f"c{at // 2}"), f"n{at % 2}")
            for at in range(4)
        ]
        for broker in brokers:
            await broker.connect()
        plain, ordered = Count(), Count()
        brokers[0].start(lambda _: None)
        brokers[1].start(plain)
        streams = [Streams(broker, f"n{at}") for at, broker in enumerate(brokers[2:])]
        for at, each in enumerate(streams):
            each.start(Receive(ordered, lambda *_: None, lambda *_: None))
            each.add(f"n{1 - at}")
        rows: dict[str, tuple[Callable[[bytes], object], Count]] = {
            "broker, to one node": (lambda message: brokers[0].send("n1", message), plain),
            "broker, to all": (brokers[0].send_all, plain),
            "numbered, to one node": (lambda message: streams[0].send("n1", message), ordered),
            "numbered, to all": (streams[0].send_all, ordered),
        }
        found: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, (send, count) in rows.items():
                found[name].append(await measure(send, count))
                for each in streams:
                    each.tick(time.monotonic())
        for name, values in found.items():
            print(f"{name:24} {statistics.median(values):6.2f} us (least {min(values):.2f})")
        for broker in brokers:
            broker.stop()
            await broker.closed()


if __name__ == "__main__":
    uvloop.run(run())
