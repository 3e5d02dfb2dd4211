"""Brokers that join several nodes in one process, for tests. The network between them does only what it is
told: messages move when `step` or `run` is called, and they are delayed or lost on demand."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from moorage.cluster.ports import Receive


class _Message(NamedTuple):
    sender: str
    receiver: str
    data: bytes


class MemoryNetwork:
    """The nodes, and the messages under way between them, oldest first."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receive | None] = {}
        self._under_way: list[_Message] = []
        self._delayed: set[tuple[str, str]] = set()
        self._losing: dict[tuple[str, str], int] = {}
        self._side: dict[str, int] = {}
        """Number of a node's part of a divided network."""
        self.lost = 0
        """Messages that never arrived."""

    def broker(self, node: str) -> MemoryBroker:
        """A broker for the node with this incarnation."""
        self._receivers[node] = None
        return MemoryBroker(self, node)

    # -- faults -----------------------------------------------------------------------------------

    def delay(self, sender: str, receiver: str) -> None:
        """Keep messages from `sender` to `receiver` under way until `release`."""
        self._delayed.add((sender, receiver))

    def release(self, sender: str, receiver: str) -> None:
        """Let delayed messages arrive, in order."""
        self._delayed.discard((sender, receiver))

    def lose(self, sender: str, receiver: str, count: int = 1) -> None:
        """Lose the next `count` messages from `sender` to `receiver`."""
        self._losing[sender, receiver] = count

    def partition(self, *sides: Collection[str]) -> None:
        """Divide the network. Messages between nodes of different sides are lost, also those under way."""
        self._side = {node: number for number, side in enumerate(sides) for node in side}

    def heal(self) -> None:
        """End a partition."""
        self._side.clear()

    # -- movement ---------------------------------------------------------------------------------

    def step(self) -> bool:
        """Deliver the oldest message that is not delayed; False if there is none."""
        for at, message in enumerate(self._under_way):
            if message[:2] not in self._delayed:
                del self._under_way[at]
                self._deliver(message)
                return True
        return False

    def ways(self) -> list[tuple[str, str]]:
        """The pairs of a sender and a receiver between which a message can move now, sorted by name."""
        return sorted({message[:2] for message in self._under_way} - self._delayed)

    def step_between(self, sender: str, receiver: str) -> None:
        """Deliver the oldest message of one of the `ways`."""
        at = next(at for at, message in enumerate(self._under_way) if message[:2] == (sender, receiver))
        self._deliver(self._under_way.pop(at))

    def run(self) -> None:
        """Deliver messages, and those sent meanwhile, until only delayed ones are left."""
        while self.step():
            pass

    def _deliver(self, message: _Message) -> None:
        receive = self._receivers.get(message.receiver)
        if receive is None or self._is_cut(message):
            self.lost += 1
        else:
            receive(message.data)

    def _is_cut(self, message: _Message) -> bool:
        return self._side.get(message.sender) != self._side.get(message.receiver)

    # -- for the brokers --------------------------------------------------------------------------

    def attach(self, node: str, receive: Receive | None) -> None:
        """Hand over the messages for `node` to `receive`; None: lose them."""
        self._receivers[node] = receive

    def others(self, node: str) -> list[str]:
        """All nodes but this one."""
        return [other for other in self._receivers if other != node]

    def carry(self, sender: str, receiver: str, data: bytes) -> None:
        """Put a message under way, unless it is lost."""
        message = _Message(sender, receiver, data)
        left = self._losing.get((sender, receiver), 0)
        if left or self._is_cut(message):
            self._losing[sender, receiver] = max(0, left - 1)
            self.lost += 1
        else:
            self._under_way.append(message)


class MemoryBroker:
    """`cluster.ports.Broker` of one node on a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, node: str) -> None:
        self._network = network
        self._node = node
        self._running = False

    def start(self, receive: Receive) -> None:
        """As in the port."""
        self._running = True
        self._network.attach(self._node, receive)

    def send(self, node: str, message: bytes) -> None:
        """As in the port."""
        if self._running and node != self._node:
            self._network.carry(self._node, node, message)

    def send_all(self, message: bytes) -> None:
        """As in the port."""
        if self._running:
            for node in self._network.others(self._node):
                self._network.carry(self._node, node, message)

    def stop(self) -> None:
        """As in the port."""
        self._running = False
        self._network.attach(self._node, None)
