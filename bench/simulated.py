"""A million clients in rooms, spread over nodes: who has members of which room, and what follows from it.

Rooms are drawn one by one, so that the number of nodes with members of a room is what chance makes it.
Rates follow from the same chances by arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from moorage.cluster.directory import hash_of
from moorage.cluster.members.membership import INTERVAL, LARGE, LONG_INTERVAL

HUB: Final = "hub"


@dataclass(frozen=True)
class Rooms:
    """One kind of room. Each client is in `each` rooms of `size` members."""

    name: str
    each: int
    size: int

    def count(self, clients: int) -> int:
        """Rooms of this kind."""
        return max(1, clients * self.each // self.size)

    def nodes(self, nodes: int) -> float:
        """Expected number of nodes with members of one of these rooms."""
        return nodes * (1 - (1 - 1 / nodes) ** self.size)

    def alone(self, nodes: int) -> float:
        """The chance that no other member of a client's room is on the client's node."""
        return float((1 - 1 / nodes) ** (self.size - 1))


@dataclass(frozen=True)
class Load:
    """What the clients do. Balancers spread them evenly, whatever their rooms."""

    clients: int = 1_000_000
    rooms: Sequence[Rooms] = (Rooms("small", 3, 4), Rooms("medium", 1, 50), Rooms("large", 1, 10_000))
    session: float = 600.0
    """Seconds that a client stays connected."""
    emits: float = 1_000.0
    """Emits to rooms a second, from senders that cover no node, such as REST; each kind of room gets as
    many."""
    app_servers: int = 20
    coverage: int = 8
    """`coverage.max`: nodes to which an app server links. Each node is covered by at least two."""


@dataclass(frozen=True)
class Rates:
    """What one node does a second, and what the cluster has. Computed, not measured."""

    links: int
    connects: float
    heartbeats: float
    """Messages received."""
    changes: float
    """Directory entries received, added and removed."""
    deltas: float
    """Messages received: deltas of the others. At most one for each connect and each disconnect."""
    acknowledgements: float
    """Messages received: those of the node's own deltas."""
    emits: float
    """Messages received: emits for rooms with members here."""
    emits_to_all: float
    """The same without a directory."""


def rates(load: Load, nodes: int) -> Rates:
    """The rates of a cluster of this size. A connect's joins, and a disconnect's leaves, are one delta."""
    connects = load.clients / load.session
    others = (nodes - 1) / nodes
    entries = sum(kind.each * kind.alone(nodes) for kind in load.rooms)
    nothing = 1.0
    for kind in load.rooms:
        nothing *= (1 - kind.alone(nodes)) ** kind.each
    deltas = 2 * connects * (1 - nothing)
    reached = sum(kind.nodes(nodes) for kind in load.rooms) / len(load.rooms)
    links = min(load.coverage, nodes)
    return Rates(
        links=links * max(load.app_servers, -(-2 * nodes // links)),
        connects=connects / nodes,
        heartbeats=(nodes - 1) / (LONG_INTERVAL if nodes > LARGE else INTERVAL),
        changes=2 * connects * entries * others,
        deltas=deltas * others,
        acknowledgements=deltas * others,
        emits=load.emits * reached / nodes * others,
        emits_to_all=load.emits * others,
    )


@dataclass(frozen=True)
class Placement:
    """Who has members of which group: for each node its groups' hashes, joined."""

    groups: int
    entries: int
    by_node: list[bytes]


def place(load: Load, nodes: int, seed: int = 1) -> Placement:
    """Put the members of each room on nodes at random."""
    draw = random.Random(seed).choices
    every = range(nodes)
    found = [bytearray() for _ in every]
    entries = 0
    for name, size in _names(load):
        key = hash_of(HUB, name)
        for node in set(draw(every, k=size)):
            found[node] += key
            entries += 1
    groups = sum(kind.count(load.clients) for kind in load.rooms)
    return Placement(groups, entries, [bytes(keys) for keys in found])


def _names(load: Load) -> Iterator[tuple[str, int]]:
    for kind in load.rooms:
        for number in range(kind.count(load.clients)):
            yield f"{kind.name} {number}", kind.size
