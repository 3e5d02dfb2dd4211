"""Which app servers should have a session at which nodes: up to `coverage.max` nodes, all of them. Beyond
that, rendezvous hashing: each pair of an app server and a node has a weight, and the heaviest pairs win. So
all nodes decide alike without talking to each other, and one more node or app server moves few sessions.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from heapq import nlargest
from typing import Final

LEAST_SERVERS: Final = 2
"""Number of app servers that cover each node at least, if the hub has as many."""


@lru_cache(maxsize=100_000)
def weight(server_id: str, node: str) -> bytes:
    """The weight of an app server and a node. Weights compare as bytes."""
    return blake2b(f"{server_id}\0{node}".encode(), digest_size=8).digest()


class Assignment:
    """The assignment of `servers` (ids of one hub's app servers that take clients) to `nodes` (incarnations).
    Each app server covers its `most` heaviest nodes, and the nodes for which it is one of the two heaviest
    app servers."""

    def __init__(self, servers: Collection[str], nodes: Collection[str], most: int) -> None:
        self.servers = frozenset(servers)
        self.nodes = frozenset(nodes)
        self._most = most
        self._duties: dict[str, set[str]] = {}
        """App server -> the nodes for which it is one of the two heaviest."""
        self._covered: dict[str, frozenset[str]] = {}
        if not self.has_all:
            for node in self.nodes:
                for server in nlargest(LEAST_SERVERS, self.servers, key=lambda each: weight(each, node)):
                    self._duties.setdefault(server, set()).add(node)

    @property
    def has_all(self) -> bool:
        """True if every app server covers every node."""
        return len(self.nodes) <= self._most

    def of(self, server_id: str) -> frozenset[str]:
        """The nodes at which this app server should have a session. It may be one without clients."""
        if self.has_all:
            return self.nodes
        found = self._covered.get(server_id)
        if found is None:
            own = nlargest(self._most, self.nodes, key=lambda node: weight(server_id, node))
            found = self._covered[server_id] = frozenset(own).union(self._duties.get(server_id, ()))
        return found
