"""The network between nodes in one process: it delays, loses and divides on demand, and only then. What every
broker does is in `tests/contract`."""

from __future__ import annotations

from moorage.cluster.memory import MemoryBroker, MemoryNetwork


class Nodes:
    """Some nodes that keep what they receive."""

    def __init__(self, *names: str) -> None:
        self.network = MemoryNetwork()
        self.brokers: dict[str, MemoryBroker] = {}
        self.received: dict[str, list[bytes]] = {}
        for name in names:
            self.brokers[name] = self.network.broker(name)
            self.received[name] = []
            self.brokers[name].start(self.received[name].append)

    def send(self, sender: str, receiver: str, *messages: bytes) -> None:
        """Send each, and let them arrive."""
        for message in messages:
            self.brokers[sender].send(receiver, message)
        self.network.run()


def test_one_step_delivers_one_message() -> None:
    nodes = Nodes("a", "b", "c")
    nodes.brokers["a"].send_all(b"1")
    assert nodes.network.step()
    assert (nodes.received["b"], nodes.received["c"]) == ([b"1"], [])
    assert nodes.network.step()
    assert not nodes.network.step()
    assert nodes.received["c"] == [b"1"]


def test_a_delayed_pair_waits_and_others_overtake_it() -> None:
    nodes = Nodes("a", "b", "c")
    nodes.network.delay("a", "b")
    nodes.send("a", "b", b"1", b"2")
    nodes.send("c", "b", b"3")
    nodes.send("b", "a", b"4")
    assert nodes.received == {"a": [b"4"], "b": [b"3"], "c": []}
    nodes.network.release("a", "b")
    nodes.send("a", "b", b"5")
    assert nodes.received["b"] == [b"3", b"1", b"2", b"5"]
    assert nodes.network.lost == 0


def test_as_many_messages_are_lost_as_was_asked_for() -> None:
    nodes = Nodes("a", "b")
    nodes.network.lose("a", "b", 2)
    nodes.send("b", "a", b"0")
    nodes.send("a", "b", b"1", b"2", b"3", b"4")
    assert nodes.received == {"a": [b"0"], "b": [b"3", b"4"]}
    assert nodes.network.lost == 2


def test_a_partition_cuts_both_ways_until_it_heals() -> None:
    nodes = Nodes("a", "b", "c")
    nodes.network.partition({"a"}, {"b", "c"})
    nodes.send("a", "b", b"1")
    nodes.send("b", "a", b"2")
    nodes.send("b", "c", b"3")
    assert nodes.received == {"a": [], "b": [], "c": [b"3"]}
    assert nodes.network.lost == 2
    nodes.network.heal()
    nodes.send("a", "b", b"4")
    assert nodes.received["b"] == [b"4"]


def test_a_partition_loses_what_is_under_way() -> None:
    nodes = Nodes("a", "b")
    nodes.brokers["a"].send("b", b"1")
    nodes.network.partition({"a"}, {"b"})
    nodes.network.run()
    assert nodes.received["b"] == []
    assert nodes.network.lost == 1
