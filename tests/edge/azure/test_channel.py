"""One tunnel's outgoing side, and a client's way over it."""

from __future__ import annotations

import pytest

from moorage.edge.azure.channel import Channel, Tunnel
from moorage.engine.exchange import Unsent
from moorage.wire.reasons import LINK_SLOW
from tests.edge.azure.rig import FakeTransport, messages
from tests.hub.fakes import World


def transport(limit: int = 1000) -> FakeTransport:
    """A tunnel and its other end."""
    return FakeTransport("t", World(), limit)


def test_frames_of_a_tick_leave_in_one_write() -> None:
    one = transport()
    for frame in (b"a", b"b" * 200, b"c"):
        one.tunnel.queue(frame)
    assert one.writes == []
    one.tunnel.flush()
    one.tunnel.flush()
    assert len(one.writes) == 1
    assert messages(one.writes[0]) == [b"a", b"b" * 200, b"c"]


def test_while_the_app_server_does_not_read_frames_wait() -> None:
    one = transport()
    one.tunnel.congested = True
    one.tunnel.queue(b"a")
    one.tunnel.flush()
    assert one.writes == []
    one.tunnel.congested = False
    one.tunnel.queue(b"b")
    one.tunnel.flush()
    assert messages(b"".join(one.writes)) == [b"a", b"b"]


def test_too_much_waiting_ends_the_link() -> None:
    one = transport(limit=100)
    one.tunnel.congested = True
    for _ in range(10):
        one.tunnel.queue(b"x" * 20)
    assert one.closed == [LINK_SLOW]
    assert not one.tunnel.open
    one.tunnel.congested = False
    one.tunnel.flush()
    assert one.writes == [], "what waited is dropped with the link"


def test_the_limit_counts_waiting_bytes_only() -> None:
    one = transport(limit=100)
    for _ in range(10):
        one.tunnel.queue(b"x" * 90)
        one.tunnel.flush()
    assert one.tunnel.open


def channel() -> Channel:
    """A client's channel."""
    world = World()
    world.server()
    return Channel(world.client())


def test_a_lane_is_on_one_tunnel() -> None:
    mine = channel()
    first, second = transport().tunnel, transport().tunnel
    for tunnel in (first, second, None):
        mine.pin(tunnel)
        holders: list[Tunnel] = [t for t in (first, second) if mine in t.channels]
        assert holders == ([] if tunnel is None else [tunnel])


@pytest.mark.parametrize("name", ["unanswered", "held", "stranded", "inbox"])
def test_a_lane_is_idle_when_the_app_server_has_all(name: str) -> None:
    mine = channel()
    assert mine.idle
    held = Unsent()
    held.add(b"x")
    setattr(mine, name, {"unanswered": 1, "held": held, "stranded": {1: b"x"}, "inbox": [b"x"]}[name])
    assert not mine.idle
