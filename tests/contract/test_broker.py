"""Contract of `cluster.ports.Broker`, for every implementation.

Each rule is a function that is given a cluster of brokers. Broken brokers below show that each rule can fail.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from moorage.cluster.local import LocalBroker
from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.ports import Broker, Receive
from moorage.cluster.settings import ClusterSettings
from tests.support.nats_server import NatsServer


@dataclass
class Cluster:
    """Running brokers, the messages that each received, and a way to deliver all pending messages."""

    brokers: dict[str, Broker]
    settle: Callable[[], None]
    received: dict[str, list[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, broker in self.brokers.items():
            self.received[name] = []
            broker.start(self.received[name].append)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every sender with every receiver."""
        return [(one, other) for one in self.brokers for other in self.brokers if one != other]


def local() -> Cluster:
    """A node that is alone."""
    return Cluster({"n0": LocalBroker("n0")}, lambda: None)


def memory(count: int, wrap: Callable[[Broker], Broker] = lambda broker: broker) -> Cluster:
    """Nodes in one process."""
    network = MemoryNetwork()
    names = [f"n{number}" for number in range(count)]
    return Cluster({name: wrap(network.broker(name)) for name in names}, network.run)


def a_message_reaches_one_node_only(cluster: Cluster) -> None:
    for sender, receiver in cluster.pairs:
        cluster.brokers[sender].send(receiver, f"{sender}>{receiver}".encode())
    cluster.settle()
    for name, received in cluster.received.items():
        assert sorted(received) == sorted(f"{one}>{name}".encode() for one, to in cluster.pairs if to == name)


def a_message_to_all_reaches_each_other_node_once(cluster: Cluster) -> None:
    for name, broker in cluster.brokers.items():
        broker.send_all(name.encode())
    cluster.settle()
    for name, received in cluster.received.items():
        assert sorted(received) == sorted(other.encode() for other in cluster.brokers if other != name)


def a_node_never_receives_its_own(cluster: Cluster) -> None:
    for name, broker in cluster.brokers.items():
        broker.send(name, b"own")
    cluster.settle()
    assert not any(cluster.received.values())


def messages_of_a_pair_keep_their_order(cluster: Cluster) -> None:
    for number in range(20):
        for sender, receiver in cluster.pairs:
            message = f"{sender} {number:02}".encode()
            if number % 3:
                cluster.brokers[sender].send(receiver, message)
            elif receiver == cluster.pairs[0][1]:
                cluster.brokers[sender].send_all(message)
    cluster.settle()
    for received in cluster.received.values():
        for sender in cluster.brokers:
            mine = [message for message in received if message.startswith(sender.encode())]
            assert mine == sorted(mine)


def nothing_is_handed_over_before_send_returns(cluster: Cluster) -> None:
    for sender, receiver in cluster.pairs:
        cluster.brokers[sender].send(receiver, b"one")
        cluster.brokers[sender].send_all(b"all")
    assert not any(cluster.received.values())


def an_answer_may_be_sent_while_a_message_is_handed_over(cluster: Cluster) -> None:
    if not cluster.pairs:
        return
    first, second = cluster.pairs[0]
    cluster.brokers[second].start(
        lambda message: cluster.brokers[second].send(first, b"answer to " + message)
    )
    cluster.brokers[first].send(second, b"1")
    cluster.settle()
    assert cluster.received[first] == [b"answer to 1"]


def a_message_to_a_stranger_is_lost(cluster: Cluster) -> None:
    for broker in cluster.brokers.values():
        broker.send("nobody", b"x")
    cluster.settle()
    assert not any(cluster.received.values())


def a_node_that_stopped_neither_receives_nor_sends(cluster: Cluster) -> None:
    gone, *others = cluster.brokers
    for name in others:
        cluster.brokers[name].send(gone, b"under way")
    cluster.brokers[gone].stop()
    cluster.brokers[gone].send_all(b"x")
    for name in others:
        cluster.brokers[gone].send(name, b"x")
        cluster.brokers[name].send_all(name.encode())
    cluster.settle()
    assert cluster.received[gone] == []
    for name in others:
        assert sorted(cluster.received[name]) == sorted(other.encode() for other in others if other != name)


def a_second_stop_does_nothing(cluster: Cluster) -> None:
    for broker in cluster.brokers.values():
        broker.stop()
        broker.stop()


RULES: list[Callable[[Cluster], None]] = [
    a_message_reaches_one_node_only,
    a_message_to_all_reaches_each_other_node_once,
    a_node_never_receives_its_own,
    messages_of_a_pair_keep_their_order,
    nothing_is_handed_over_before_send_returns,
    an_answer_may_be_sent_while_a_message_is_handed_over,
    a_message_to_a_stranger_is_lost,
    a_node_that_stopped_neither_receives_nor_sends,
    a_second_stop_does_nothing,
]
CLUSTERS: dict[str, Callable[[], Cluster]] = {
    "local": local,
    **{f"memory-{count}": partial(memory, count) for count in (1, 2, 3, 8)},
}


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """A server for all brokers of this module."""
    with NatsServer() as running:
        yield running


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of the brokers on NATS. It runs only while they settle."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def nats(server: NatsServer, loop: asyncio.AbstractEventLoop, count: int) -> Cluster:
    """Nodes on a real server. A name of its own keeps this cluster apart from those of other tests."""
    settings = ClusterSettings(nats_url=(server.url,), name=secrets.token_hex(8))
    brokers = {f"n{number}": NatsBroker(settings, f"n{number}") for number in range(count)}

    async def settle() -> None:
        # The server has taken all messages after the first round, and handed them over after the second.
        # The other two are for answers.
        for _ in range(4):
            for broker in brokers.values():
                await broker.flush()

    for broker in brokers.values():
        loop.run_until_complete(broker.connect())
    return Cluster(dict(brokers), lambda: loop.run_until_complete(settle()))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_rules_hold_on_nats(
    server: NatsServer, loop: asyncio.AbstractEventLoop, count: int, rule: Callable[[Cluster], None]
) -> None:
    cluster = nats(server, loop, count)
    rule(cluster)
    for broker in cluster.brokers.values():
        broker.stop()
        assert isinstance(broker, NatsBroker)
        loop.run_until_complete(broker.closed())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", CLUSTERS)
def test_the_rules_hold(name: str, rule: Callable[[Cluster], None]) -> None:
    rule(CLUSTERS[name]())


class Broken:
    """A broker that works. The subclasses break one promise each."""

    def __init__(self, real: Broker) -> None:
        self.real = real
        self.receive: Receive = lambda message: None

    def start(self, receive: Receive) -> None:
        self.receive = receive
        self.real.start(receive)

    def send(self, node: str, message: bytes) -> None:
        self.real.send(node, message)

    def send_all(self, message: bytes) -> None:
        self.real.send_all(message)

    def stop(self) -> None:
        self.real.stop()


class Twice(Broken):
    """Delivers twice."""

    def send_all(self, message: bytes) -> None:
        self.real.send_all(message)
        self.real.send_all(message)


class ToEverybody(Broken):
    """Uses one address for all nodes."""

    def send(self, node: str, message: bytes) -> None:
        self.real.send_all(message)


class Echo(Broken):
    """Hands a node its own messages, at once."""

    def send(self, node: str, message: bytes) -> None:
        self.receive(message)


class LateForAll(Broken):
    """Delivers messages to all nodes after those to one node."""

    def __init__(self, real: Broker) -> None:
        super().__init__(real)
        self.late: list[bytes] = []

    def send_all(self, message: bytes) -> None:
        self.late.append(message)
        if len(self.late) == 5:
            for each in self.late:
                self.real.send_all(each)


class NoEnd(Broken):
    """Continues after its end."""

    def stop(self) -> None:
        """Does not stop."""


class Silent(Broken):
    """Delivers nothing to a single node."""

    def send(self, node: str, message: bytes) -> None:
        """Does not send."""


class StopsOnce(Broken):
    """Fails at a second stop."""

    stopped = False

    def stop(self) -> None:
        assert not self.stopped
        self.stopped = True


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Silent, a_message_reaches_one_node_only),
        (Twice, a_message_to_all_reaches_each_other_node_once),
        (Echo, a_node_never_receives_its_own),
        (LateForAll, messages_of_a_pair_keep_their_order),
        (Echo, nothing_is_handed_over_before_send_returns),
        (Silent, an_answer_may_be_sent_while_a_message_is_handed_over),
        (ToEverybody, a_message_to_a_stranger_is_lost),
        (NoEnd, a_node_that_stopped_neither_receives_nor_sends),
        (StopsOnce, a_second_stop_does_nothing),
    ],
    ids=lambda each: each.__name__,
)
def test_each_rule_can_fail(broken: type[Broken], rule: Callable[[Cluster], None]) -> None:
    rule(memory(3, Broken))
    with pytest.raises(AssertionError):
        rule(memory(3, broken))
