"""Real directories under the simulated load: one that knows all groups of many nodes, and a small cluster on
the memory broker."""

from __future__ import annotations

import gc
import multiprocessing
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.simulated import HUB, Load, Placement
from moorage.cluster.directory import HASH_BYTES, SNAPSHOT_GROUPS, Directory
from moorage.cluster.memory import MemoryNetwork
from moorage.wire.cluster import messages
from moorage.wire.cluster.messages import Acknowledged, Delta, Envelope, Snapshot, WantGroups


@dataclass(frozen=True)
class Observed:
    """What the directory of one node costs it."""

    groups: int
    bytes: int
    """Growth of the process."""
    snapshot_us: float
    """CPU for one entry of a snapshot."""
    delta_us: float
    """CPU for one entry of a delta with 100, decoding included."""
    small_delta_us: float
    """The same for a delta with 4."""

    @property
    def bytes_each(self) -> float:
        """For one group."""
        return self.bytes / max(1, self.groups)


def observe(placement: Placement, deltas: int) -> Observed:
    """A node that learns all groups of all others, in a fresh process, whose memory nothing else uses."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_observe, placement.by_node, deltas).result()


def _observe(by_node: list[bytes], count: int) -> Observed:
    directory = Directory(lambda _to, _body: None, lambda: None)
    names = [f"node{number:04}" for number in range(len(by_node))]
    for name in names:
        directory.add(name)
    gc.collect()
    before, began = rss(), time.process_time()
    size = SNAPSHOT_GROUPS * HASH_BYTES
    for name, keys in zip(names, by_node, strict=True):
        for start in range(0, max(1, len(keys)), size):
            part = Snapshot(0, start == 0, start + size >= len(keys), keys[start : start + size])
            directory.snapshot(name, part)
    seconds = time.process_time() - began
    groups, grown = len(directory), rss() - before
    numbers = dict.fromkeys(names, 0)
    large = _deltas(directory, by_node, names, numbers, count, 100)
    small = _deltas(directory, by_node, names, numbers, count * 10, 4)
    entries = sum(map(len, by_node)) // HASH_BYTES
    return Observed(groups, grown, seconds / max(1, entries) * 1e6, large, small)


def rss() -> int:
    """Resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _deltas(
    directory: Directory,
    by_node: list[bytes],
    names: list[str],
    numbers: dict[str, int],
    count: int,
    size: int,
) -> float:
    """CPU for one entry, in microseconds: half of them go, half are new, all of groups at random."""
    rng = random.Random(size)
    encoded = []
    for _ in range(count):
        node = rng.randrange(len(names))
        numbers[names[node]] += 1
        other = by_node[rng.randrange(len(names))]
        body = Delta(numbers[names[node]], _some(rng, other, size // 2), _some(rng, by_node[node], size // 2))
        encoded.append(messages.encode(Envelope(names[node], body)))
    began = time.process_time()
    for message in encoded:
        envelope = messages.decode(message)
        assert isinstance(envelope.body, Delta)
        directory.delta(envelope.origin, envelope.body)
    return (time.process_time() - began) / (count * size) * 1e6


def _some(rng: random.Random, keys: bytes, count: int) -> bytes:
    last = max(1, len(keys) // HASH_BYTES)
    starts = [rng.randrange(last) * HASH_BYTES for _ in range(count)]
    return b"".join(keys[start : start + HASH_BYTES] for start in starts)


class SmallCluster:
    """Some nodes with real directories on a `MemoryNetwork`. It counts members as the hub does. Nothing is
    lost, and every connect is a tick of its own."""

    def __init__(self, nodes: int) -> None:
        self.network = MemoryNetwork()
        self.received: Counter[str] = Counter()
        """Messages received by all nodes, by their kind."""
        self.entries = 0
        self.names = [f"node{number:04}" for number in range(nodes)]
        self._brokers = {name: self.network.broker(name) for name in self.names}
        self.directories = {name: Directory(self._tell_of(name), lambda: None) for name in self.names}
        self._members: Counter[tuple[str, str]] = Counter()
        for name, broker in self._brokers.items():
            broker.start(lambda message, name=name: self._receive(name, message))
        for name, directory in self.directories.items():
            for other in self.names:
                if other != name:
                    directory.add(other)
        self.network.run()
        self.received.clear()

    def _tell_of(self, name: str) -> Callable[[str | None, Any], object]:
        def tell(to: str | None, body: Any) -> None:
            message = messages.encode(Envelope(name, body))
            if to is None:
                self._brokers[name].send_all(message)
            else:
                self._brokers[name].send(to, message)

        return tell

    def _receive(self, name: str, message: bytes) -> None:
        envelope = messages.decode(message)
        body, directory = envelope.body, self.directories[name]
        self.received[type(body).__name__] += 1
        if isinstance(body, Delta):
            self.entries += (len(body.added) + len(body.removed)) // HASH_BYTES
            directory.delta(envelope.origin, body)
        elif isinstance(body, Acknowledged):
            directory.acknowledged(envelope.origin, body.number)
        elif isinstance(body, Snapshot):
            directory.snapshot(envelope.origin, body)
        elif isinstance(body, WantGroups):
            directory.wanted(envelope.origin)

    def connect(self, node: str, rooms: list[str]) -> None:
        """A client comes and joins its rooms."""
        for room in rooms:
            self._members[node, room] += 1
            if self._members[node, room] == 1:
                self.directories[node].first(HUB, room)
        self._tick(node)

    def disconnect(self, node: str, rooms: list[str]) -> None:
        """A client goes."""
        for room in rooms:
            self._members[node, room] -= 1
            if not self._members[node, room]:
                del self._members[node, room]
                self.directories[node].last(HUB, room)
        self._tick(node)

    def _tick(self, node: str) -> None:
        self.directories[node].flush()
        self.network.run()

    def reached(self, sender: str, room: str) -> int:
        """How many other nodes get an emit."""
        found = self.directories[sender].nodes_with(HUB, [room])
        return len(self.names) - 1 if found is None else len(found - {sender})


@dataclass(frozen=True)
class Churned:
    """What a small cluster did, for one connect or disconnect and one emit."""

    deltas: float
    """Messages received by all nodes."""
    entries: float
    """Directory entries in them."""
    reached: float
    """Nodes that an emit reached besides the sender's."""
    groups: int


def churn(load: Load, nodes: int, turns: int, seed: int = 1) -> Churned:
    """Let all clients connect, then let some of them disconnect and connect to a node at random."""
    rng = random.Random(seed)
    world = SmallCluster(nodes)

    rooms: list[list[str]] = [[] for _ in range(load.clients)]
    for kind in load.rooms:
        names = [f"{kind.name} {number}" for number in range(kind.count(load.clients))]
        slots = names * kind.size
        rng.shuffle(slots)
        for at, slot in enumerate(slots):
            rooms[at % load.clients].append(slot)
    homes = [rng.choice(world.names) for _ in rooms]
    for node, joined in zip(homes, rooms, strict=True):
        world.connect(node, joined)
    world.received.clear()
    world.entries = 0
    for _ in range(turns):
        at = rng.randrange(load.clients)
        world.disconnect(homes[at], rooms[at])
        homes[at] = rng.choice(world.names)
        world.connect(homes[at], rooms[at])
    reached = [
        world.reached(rng.choice(world.names), f"{kind.name} {rng.randrange(kind.count(load.clients))}")
        for kind in load.rooms
        for _ in range(200)
    ]
    return Churned(
        world.received["Delta"] / (2 * turns),
        world.entries / (2 * turns),
        sum(reached) / len(reached),
        len(world.directories[world.names[0]]),
    )
