from __future__ import annotations

from moorage.cluster.streams.incoming import EPOCH_BITS, Incoming
from moorage.wire.cluster.streams import ALL, ASK_ALL, ASK_DIRECT, DIRECT

EPOCH = 1 << EPOCH_BITS


def test_a_message_waits_for_both_streams() -> None:
    node = Incoming("n1")
    node.begin(0, (EPOCH, 0), (1, 0))
    assert node.is_next(ALL, 1, 0)
    assert not node.is_next(DIRECT, EPOCH | 1, 2)
    node.hear(2, EPOCH | 1)
    node.hold(EPOCH | 1, 2, b"b", direct=True)
    assert node.pop() is None
    assert node.holes() == [(ASK_ALL, 2, 2)]
    node.hold(2, -1, b"a", direct=False)
    assert [node.pop(), node.pop(), node.pop()] == [b"a", b"b", None]
    assert (node.holes(), node.held_bytes) == ([], 0)
    assert not node.is_new(2, direct=False)


def test_a_hole_ends_before_what_is_held() -> None:
    node = Incoming("n1")
    node.begin(0, (EPOCH | 9, 0), (1, 0))
    node.hold(EPOCH | 4, 0, b"4", direct=True)
    assert node.holes() == [(ASK_DIRECT, EPOCH | 1, EPOCH | 3)]
    assert node.skip(EPOCH | 7, direct=True) == 3
    assert node.pop() == b"4"
    assert node.holes() == [(ASK_DIRECT, EPOCH | 5, EPOCH | 9)]
    assert node.skip(EPOCH | 4, direct=True) == 0
    assert node.skip(1, direct=False) == 0


def test_a_node_that_met_this_one_anew_begins_again() -> None:
    node = Incoming("n1")
    node.begin(5, (EPOCH | 3, 2), (1, 0))
    assert node.position == (3, EPOCH | 1)
    assert node.hear(5, 2 * EPOCH) is False
    assert node.position == (3, 2 * EPOCH | 1)


def test_a_node_that_comes_back_goes_on_where_it_is() -> None:
    node = Incoming("n1")
    node.begin(9, (EPOCH | 7, 2), (4, EPOCH | 3))
    assert node.position == (10, EPOCH | 8)
    node = Incoming("n1")
    node.begin(9, None, (4, EPOCH | 3))
    assert node.position == (10, EPOCH | 3)


def test_a_number_that_nobody_can_have_reached_is_not_new() -> None:
    node = Incoming("n1")
    assert node.is_new(1 << 31, direct=False)
    assert not node.is_new(1 << 33, direct=False)
    assert node.is_new(EPOCH | 1, direct=True)
