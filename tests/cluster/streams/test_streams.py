"""What arrives is what was sent, once and in order, or a gap is reported: whatever the network loses."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.streams.kept import KEEP_SECONDS
from moorage.cluster.streams.streams import (
    ASTRAY_SECONDS,
    DUPLICATE,
    GARBAGE,
    GIVE_UP_SECONDS,
    KEEP_BYTES,
    LOG_SECONDS,
    MAX_HELD,
    OWN_ID,
    STRANGER,
    Receive,
    Streams,
)
from moorage.wire.cluster import streams as wire
from tests.support.log_lines import fields


class Place:
    """The streams of one node. A heartbeat adds its sender."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.name = name
        self.streams = Streams(network.broker(name), name)
        self.known: set[str] = set()
        self.received: dict[str, list[bytes]] = {}
        """What each node has sent; b"gap" stands for a gap."""
        self.streams.start(Receive(self._message, self._beat, self._gap))

    def _message(self, node: str, message: bytes) -> None:
        assert node in self.known
        self.received.setdefault(node, []).append(message)

    def _gap(self, node: str) -> None:
        self._message(node, b"gap")

    def _beat(self, node: str, message: bytes) -> None:
        if node not in self.known:
            self.known.add(node)
            self.streams.add(node)
            if message == b"new":
                self.streams.beat(b"")

    def lose(self, node: str) -> None:
        self.known.remove(node)
        self.streams.remove(node)


class Cluster:
    """Nodes that know each other, and a clock."""

    def __init__(self, count: int = 2) -> None:
        self.now = 100.0
        self.network = MemoryNetwork()
        self.places = [Place(self.network, f"n{at}") for at in range(count)]
        for place in self.places:
            place.streams.tick(self.now)
            place.streams.beat(b"new")
        self.network.run()
        self.sent: dict[tuple[int, int], list[bytes]] = {
            (one, other): [] for one in range(count) for other in range(count) if one != other
        }

    def send(self, sender: int, receiver: int | None, message: bytes) -> None:
        """Send to one node, or to all."""
        place = self.places[sender]
        if receiver is None:
            place.streams.send_all(message)
        else:
            place.streams.send(f"n{receiver}", message)
        for (one, other), messages in self.sent.items():
            if one == sender and receiver in (None, other):
                messages.append(message)

    def later(self, seconds: float, *, beats: bool = True) -> None:
        """Time passes in quarters of a second, with a heartbeat each second."""
        for step in range(round(seconds * 4)):
            self.now += 0.25
            for place in self.places:
                place.streams.tick(self.now)
                if beats and step % 4 == 0:
                    place.streams.beat(b"")
            self.network.run()

    def received(self, sender: int, receiver: int) -> list[bytes]:
        return self.places[receiver].received.get(f"n{sender}", [])

    def lose(self, sender: int, receiver: int, count: int = 1) -> None:
        self.network.lose(f"n{sender}", f"n{receiver}", count)


def test_messages_to_one_and_to_all_arrive_in_order() -> None:
    cluster = Cluster(3)
    for number in range(9):
        cluster.send(0, None if number % 3 == 0 else number % 3, b"%d" % number)
    cluster.network.run()
    assert cluster.received(0, 1) == [b"0", b"1", b"3", b"4", b"6", b"7"]
    assert cluster.received(0, 2) == [b"0", b"2", b"3", b"5", b"6", b"8"]


@pytest.mark.parametrize("lost", [(None, 1), (1, None), (1, 1), (None, None)])
def test_a_lost_message_is_sent_again_before_those_behind_it(lost: tuple[int | None, int | None]) -> None:
    cluster = Cluster()
    cluster.send(0, 1, b"0")
    cluster.lose(0, 1)
    cluster.send(0, lost[0], b"1")
    cluster.send(0, lost[1], b"2")
    cluster.send(0, 1, b"3")
    cluster.network.run()
    assert cluster.received(0, 1) == [b"0", b"1", b"2", b"3"]
    assert cluster.places[0].streams.resent == 1


@pytest.mark.parametrize("receiver", [None, 1])
def test_a_heartbeat_tells_of_a_lost_last_message(receiver: int | None) -> None:
    cluster = Cluster()
    cluster.lose(0, 1)
    cluster.send(0, receiver, b"0")
    cluster.network.run()
    assert cluster.received(0, 1) == []
    cluster.later(1.25)
    assert cluster.received(0, 1) == [b"0"]


def test_a_lost_message_is_sent_again_once_although_the_way_there_and_back_takes_long() -> None:
    cluster = Cluster()
    cluster.lose(0, 1)
    cluster.send(0, None, b"lost")
    cluster.send(0, None, b"behind")
    cluster.network.delay("n1", "n0")
    cluster.later(0.75, beats=False)
    cluster.network.release("n1", "n0")
    cluster.network.run()
    assert cluster.received(0, 1) == [b"lost", b"behind"]
    assert cluster.places[0].streams.resent == 1
    assert not cluster.places[1].streams.bad[DUPLICATE]


def test_what_is_no_longer_kept_is_a_gap() -> None:
    cluster = Cluster()
    cluster.network.partition({"n0"}, {"n1"})
    cluster.send(0, None, b"0")
    cluster.send(0, 1, b"1")
    cluster.later(KEEP_SECONDS + 1)
    cluster.send(0, 1, b"2")
    cluster.later(1)
    cluster.network.heal()
    cluster.send(0, None, b"3")
    cluster.network.run()
    assert cluster.received(0, 1)[-2:] == [b"2", b"3"]
    assert set(cluster.received(0, 1)[:-2]) == {b"gap"}
    assert cluster.places[1].streams.gaps == len(cluster.received(0, 1)) - 2


def test_nobody_waits_longer_than_three_seconds_for_a_lost_message() -> None:
    cluster = Cluster()
    cluster.lose(0, 1)
    cluster.network.delay("n1", "n0")
    cluster.send(0, None, b"0")
    cluster.send(0, None, b"1")
    cluster.later(GIVE_UP_SECONDS - 0.25)
    assert cluster.received(0, 1) == []
    cluster.later(0.5)
    assert cluster.received(0, 1) == [b"gap", b"1"]


def test_a_node_that_slept_asks_before_it_gives_up() -> None:
    cluster = Cluster()
    cluster.lose(0, 1)
    cluster.network.delay("n1", "n0")
    cluster.send(0, None, b"0")
    cluster.send(0, None, b"1")
    cluster.later(0.25)
    cluster.now += 60.0
    for place in cluster.places:
        place.streams.tick(cluster.now)
    assert cluster.received(0, 1) == []
    cluster.network.release("n1", "n0")
    cluster.later(1)
    assert cluster.received(0, 1)[-1] == b"1"


def test_memory_is_bounded_at_both_ends() -> None:
    cluster = Cluster()
    size = 1024 * 1024
    cluster.lose(0, 1)
    cluster.network.delay("n1", "n0")
    for number in range(2 * MAX_HELD // size):
        cluster.send(0, None, b"%d" % number + b"x" * size)
        cluster.network.run()
    found = list(cluster.received(0, 1))
    assert found[0] == b"gap"
    assert [message[:2] for message in found[-2:]] == [b"30", b"31"]
    cluster.network.release("n1", "n0")
    cluster.lose(0, 1, 100)
    for number in range(2 * KEEP_BYTES // size):
        cluster.send(0, 1, b"%d" % number + b"x" * size)
    cluster.lose(0, 1, 0)
    cluster.later(15)
    again = cluster.received(0, 1)[len(found) :]
    assert again[0] == b"gap"
    assert 8 <= len(again) <= 17
    assert again[-1][:2] == b"31"


def test_a_node_that_comes_back_does_not_get_old_messages_twice() -> None:
    cluster = Cluster()
    cluster.send(0, 1, b"0")
    cluster.send(0, None, b"1")
    cluster.network.run()
    cluster.places[1].lose("n0")
    cluster.send(0, None, b"lost")
    cluster.send(0, 1, b"lost too")
    cluster.later(1)
    cluster.send(0, 1, b"2")
    cluster.send(0, None, b"3")
    cluster.later(2)
    assert cluster.received(0, 1) == [b"0", b"1", b"2", b"3"]
    # The other side hears that it was forgotten.
    assert cluster.received(1, 0) == [b"gap"]


def test_a_node_that_was_forgotten_is_told() -> None:
    cluster = Cluster()
    cluster.send(0, 1, b"0")
    cluster.network.run()
    cluster.places[0].lose("n1")
    cluster.send(0, 1, b"to nobody")
    cluster.later(1)
    cluster.send(0, 1, b"1")
    cluster.later(1)
    assert cluster.received(0, 1) == [b"0", b"gap", b"1"]


def test_a_partition_that_both_sides_noticed_heals() -> None:
    cluster = Cluster()
    cluster.network.partition({"n0"}, {"n1"})
    cluster.send(0, 1, b"lost")
    for place, other in zip(cluster.places, ("n1", "n0"), strict=True):
        place.lose(other)
    cluster.send(0, None, b"lost")
    cluster.network.heal()
    cluster.later(1)
    for sender in (0, 1):
        cluster.send(sender, 1 - sender, b"direct")
        cluster.send(sender, None, b"all")
    cluster.later(2)
    assert cluster.received(0, 1) == [b"gap", b"direct", b"all"]
    assert cluster.received(1, 0) == [b"gap", b"direct", b"all"]


def test_what_was_sent_before_the_first_heartbeat_arrived_is_not_lost() -> None:
    cluster = Cluster(1)
    for number in range(5):
        cluster.places[0].streams.send_all(b"early %d" % number)
    late = Place(cluster.network, "n1")
    cluster.places.append(late)
    late.streams.beat(b"new")
    cluster.network.lose("n0", "n1", 3)
    cluster.network.run()
    assert cluster.places[0].known == {"n1"}
    cluster.places[0].streams.send("n1", b"0")
    cluster.places[0].streams.send_all(b"1")
    cluster.network.run()
    assert late.received == {}
    cluster.later(2)
    assert late.received == {"n0": [b"0", b"1"]}


# -- bad input -----------------------------------------------------------------------------------------------


def hostile(cluster: Cluster, frames: Iterable[bytes], sender: str = "n9") -> None:
    stranger = cluster.network.broker(sender)
    stranger.start(lambda message: None)
    for frame in frames:
        stranger.send("n0", frame)
        stranger.send_all(frame)
    cluster.network.run()


@given(st.lists(st.binary(max_size=60), max_size=10))
@settings(max_examples=30, deadline=None)
def test_garbage_is_counted_and_changes_nothing(frames: list[bytes]) -> None:
    cluster = Cluster()
    hostile(cluster, frames)
    assert sum(cluster.places[0].streams.bad.values()) == 2 * len(frames)
    cluster.send(1, 0, b"good")
    cluster.network.run()
    assert cluster.received(1, 0) == [b"good"]


def test_strangers_and_the_own_id_are_refused() -> None:
    cluster = Cluster()
    hostile(
        cluster,
        [
            wire.encode(wire.prefix(kind, sender), 1, 1, b"x")
            for kind in range(wire.ALL, wire.GONE_DIRECT + 1)
            for sender in (b"n8", b"n0", b"\xff")
            if (kind, sender) != (wire.BEAT, b"n8")
        ],
    )
    found = cluster.places[0].streams.bad
    assert (found[OWN_ID], found[STRANGER], found[GARBAGE]) == (14, 24, 2)
    assert cluster.places[0].received == {}


def test_replayed_messages_are_dropped() -> None:
    cluster = Cluster()
    replayed: list[bytes] = []
    spy = cluster.network.broker("n2")
    spy.start(replayed.append)
    cluster.send(1, None, b"0")
    cluster.send(1, None, b"1")
    cluster.network.run()
    hostile(cluster, [frame for frame in replayed if frame[0] == wire.ALL])
    assert cluster.received(1, 0) == [b"0", b"1"]
    assert cluster.places[0].streams.bad[DUPLICATE] == 4


@given(
    st.lists(
        st.tuples(st.integers(1, 7), st.integers(0, 2**63 - 1) | st.integers(0, 9), st.integers(0, 9)),
        max_size=10,
    )
)
@settings(max_examples=50, deadline=None)
def test_forged_numbers_raise_nothing(rows: list[tuple[int, int, int]]) -> None:
    cluster = Cluster()
    prefixes = {kind: wire.prefix(kind, b"n1") for kind in range(1, 8)}
    hostile(cluster, [wire.encode(prefixes[kind], one, other, b"") for kind, one, other in rows])
    hostile(
        cluster,
        [wire.encode(prefixes[kind], one, other, b"", [(b"n0", one, other)]) for kind, one, other in rows],
    )
    cluster.later(5)


def test_the_log_has_one_line_for_many_bad_messages(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    hostile(cluster, [b"garbage"] * 100)
    assert len([line for line in caplog.records if "bad messages" in str(line.msg)]) == 2
    caplog.clear()
    cluster.later(LOG_SECONDS)
    hostile(cluster, [b"garbage"])
    assert [fields(line).get("garbage") == 201 for line in caplog.records] == [True, False]


# -- any faults ----------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_what_arrives_is_what_was_sent_or_a_gap_is_reported(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.choice([2, 3, 4])
    cluster = Cluster(count)
    names = [f"n{at}" for at in range(count)]
    for number in range(rng.randrange(20, 120)):
        sender, other = rng.sample(range(count), 2)
        match rng.randrange(12):
            case 0:
                cluster.lose(sender, other, rng.randrange(4))
            case 1:
                cluster.network.delay(names[sender], names[other])
            case 2 | 3:
                cluster.network.release(names[sender], names[other])
            case 4 if rng.random() < 0.3:
                cluster.network.partition({names[sender]}, set(names) - {names[sender]})
            case 5:
                cluster.network.heal()
            case 6:
                cluster.later(rng.choice([0.25, 1.0, 2.0]))
            case 7:
                cluster.network.run()
            case _:
                cluster.send(sender, rng.choice([None, other]), b"%d" % number)
    cluster.network.heal()
    for sender in range(count):
        for receiver in range(count):
            cluster.network.release(names[sender], names[receiver])
            cluster.lose(sender, receiver, 0)
    cluster.later(KEEP_SECONDS)
    for (sender, receiver), sent in cluster.sent.items():
        found = cluster.received(sender, receiver)
        arrived = [message for message in found if message != b"gap"]
        left = iter(sent)
        assert all(message in left for message in arrived), (sent, found)
        assert b"gap" in found or arrived == sent


def _forged(kind: int, first: int, second: int, marks: list[wire.Mark] | None = None) -> bytes:
    return wire.encode(wire.prefix(kind, b"n0"), first, second, b"forged", marks)


@pytest.mark.parametrize(
    "forged",
    [
        _forged(wire.BEAT, 2**62, 0),
        _forged(wire.BEAT, 2**62, 0, [(b"n1", 2**64 - 1, 0)]),
        _forged(wire.ALL, 2**31, 0),
        _forged(wire.DIRECT, 1 << 40 | 2**31, 0),
        _forged(wire.DIRECT, 1 << 60 | 7, 0),
        _forged(wire.GONE_ALL, 0, 2**62),
        _forged(wire.GONE_DIRECT, 0, 2**62),
    ],
    ids=["beat", "mark", "all", "direct", "epoch", "gone-all", "gone-direct"],
)
def test_a_forged_number_does_not_end_a_stream_for_ever(forged: bytes) -> None:
    cluster = Cluster()
    cluster.send(0, 1, b"before")
    cluster.send(0, None, b"before")
    stranger = cluster.network.broker("n9")
    stranger.start(lambda message: None)
    stranger.send("n1", forged)
    cluster.later(1.0)
    cluster.send(0, 1, b"in between")
    cluster.later(GIVE_UP_SECONDS + ASTRAY_SECONDS + 3.0)
    cluster.places[1].received.clear()
    for receiver in (1, None, 1, None):
        cluster.send(0, receiver, b"after")
    cluster.later(1.0)
    assert cluster.received(0, 1) == [b"after"] * 4


def test_an_old_heartbeat_that_comes_again_changes_nothing() -> None:
    cluster = Cluster()
    stranger = cluster.network.broker("n9")
    stranger.start(lambda message: None)
    old = wire.encode(wire.prefix(wire.BEAT, b"n0"), 0, 0, b"")
    for number in range(20):
        cluster.send(0, None, b"%d" % number)
        cluster.later(1.0)
        for _ in range(10):
            stranger.send("n1", old)
    cluster.network.run()
    assert cluster.received(0, 1) == [b"%d" % number for number in range(20)]
