"""What a socket brings along."""

from __future__ import annotations

from moorage.hub.recovery.sockets.carried import Carried, contains, missed
from moorage.hub.recovery.sockets.log import Entry
from moorage.wire.recovery.moving import Missed, Segment
from moorage.wire.recovery.offsets import Offset

EVENTS = (Missed(3, b"a"), Missed(5, b"b", 8), Missed(6, b"c"))


def carried() -> Carried:
    made = Carried(100, 200, "/", 1.0)
    made.fill((Segment("x", 2, 9, EVENTS), Segment("y", 4, 4, ())), {"app": 7}, [("node", 3)], whole=True)
    return made


def test_places() -> None:
    one = carried()
    offsets = [("x", 1), ("x", 2), ("x", 3), ("x", 4), ("x", 9), ("x", 10), ("y", 4), ("y", 5), ("z", 2)]
    expected = [None, 100, 101, 101, 103, None, 103, None, None]
    assert [one.position_of(Offset(*offset)) for offset in offsets] == expected
    assert contains(Segment("y", 4, 4, ()), Offset("y", 4))


def test_events_after_a_place() -> None:
    one = carried()
    first, question, last = one.entries
    assert [entry.position for entry in one.entries] == [101, 102, 103]
    assert (first.ack_id, question.ack_id) == (None, 7)
    assert one.after(100, {7: question}) == [first, question, last]
    assert one.after(101, {}) == [last]


def test_what_another_node_needs() -> None:
    one = carried()
    question = one.entries[1]
    # Nobody knows where the client is.
    assert one.segments(100, None, {7: question}) == [Segment("x", 2, 9, EVENTS), Segment("y", 4, 4, ())]
    assert one.segments(101, Offset("x", 4), {}) == [Segment("x", 3, 9, EVENTS[2:])]
    assert one.segments(103, Offset("y", 4), {}) == [Segment("y", 4, 4, ())]
    assert one.segments(103, Offset("x", 9), {}) == [Segment("x", 6, 9, ())]


def test_what_was_carried_out_elsewhere() -> None:
    one = carried()
    sources = [("app", 7), ("app", 8), ("node", 3), ("node", 2), ("", 0)]
    entries = [Entry(1, 1.0, "/", b"", None, source=source, number=number) for source, number in sources]
    assert [one.has_seen(entry) for entry in entries] == [True, False, True, False, False]
    assert missed(one.entries[:2]) == (Missed(101, b"a"), Missed(102, b"b", 8))
