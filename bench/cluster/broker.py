"""(p): CPU of a message between two nodes, to publish and to receive it over a real NATS server.

Both nodes are in this process, so its CPU is that of the sender and of the receiver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import uvloop

from bench.cluster.machines import nats_servers
from bench.figures import Bar, Figure, Rounds
from bench.run import Run
from bench.servers import MOORAGE
from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.settings import ClusterSettings
from moorage.cluster.streams.streams import Receive, Streams

SIZE: Final = 150
BURSTS: Final = 200
BURST: Final = 100
"""Messages that are sent in one turn of the loop."""


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


async def _rounds(url: str, rounds: int) -> Rounds:
    """A value for each way to send, the ways in turn."""
    brokers = [
        NatsBroker(ClusterSettings(nats_url=(url,), name=f"c{at // 2}"), f"n{at % 2}") for at in range(4)
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
    ways: dict[str, tuple[Callable[[bytes], object], Count]] = {
        "broker to one": (lambda message: brokers[0].send("n1", message), plain),
        "broker to all": (brokers[0].send_all, plain),
        "numbered to one": (lambda message: streams[0].send("n1", message), ordered),
        "numbered to all": (streams[0].send_all, ordered),
    }
    found = Rounds()
    for number in range(rounds + 1):
        for name, (send, count) in ways.items():
            value = await measure(send, count)
            if number:
                found.add(MOORAGE, {name: value})
            for each in streams:
                each.tick(time.monotonic())
    for broker in brokers:
        broker.stop()
        await broker.closed()
    return found


def messages(run: Run) -> list[Figure]:
    """(p) A message between two nodes."""
    found = Rounds()
    with run.caught("p", MOORAGE), ExitStack() as stack:
        urls, _ = nats_servers(stack, run.logs_of("p"), 1)
        found = uvloop.run(_rounds(urls[0], run.plan.rounds))
    what = f"CPU to publish and receive {SIZE} bytes"
    return [
        Figure("p", f"{what}, broker, to one node", "us", found.of("broker to one"), (Bar(3.0),)),
        Figure("p", f"{what}, broker, to all nodes", "us", found.of("broker to all"), (Bar(3.0),)),
        Figure("p", f"{what}, with numbers and copies, to one node", "us", found.of("numbered to one")),
        Figure("p", f"{what}, with numbers and copies, to all nodes", "us", found.of("numbered to all")),
    ]
