"""When a link must send, and when it is lost."""

from __future__ import annotations

from moorage.sdk.link.keepalive import KeepAlive


def test_three_silent_intervals_are_the_end() -> None:
    link = KeepAlive()
    assert [link.is_lost(1.0, 2.0) for _ in range(7)] == [False] * 7
    assert link.is_lost(1.0, 2.0)


def test_any_bytes_count() -> None:
    link = KeepAlive()
    for _ in range(20):
        assert not link.is_lost(5.0, 2.0)
        link.heard = True
    assert not link.is_lost(5.0, 2.0)


def test_it_sends_when_nothing_was_sent_for_half_an_interval() -> None:
    link = KeepAlive()
    assert [link.is_due(0.5, 2.0) for _ in range(4)] == [False, False, True, True]
    link.sent = True
    assert not link.is_due(0.5, 2.0)


def test_an_acknowledgement_counts_as_sent() -> None:
    link = KeepAlive()
    assert [link.is_due(0.5, 2.0) for _ in range(3)] == [False, False, True]
    link.acknowledged()
    assert [link.is_due(0.5, 2.0) for _ in range(2)] == [False, True]


def test_a_new_connection_begins_anew() -> None:
    link = KeepAlive()
    for _ in range(8):
        link.is_lost(1.0, 2.0)
        link.is_due(1.0, 2.0)
    link.restart()
    assert (link.is_lost(1.0, 2.0), link.is_due(1.0, 2.0)) == (False, False)
