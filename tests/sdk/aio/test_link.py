"""A link over real sockets: to a real service where that is enough, to one that a test drives where a
service would have to fall silent, forget or misbehave on cue."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest

from moorage.sdk.errors import (
    LinkClosed,
    LinkRefused,
    LinkUnavailable,
    QueueFull,
    SessionLost,
)
from moorage.sdk.link.session import CONGESTED_BYTES
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Drain, Emit, Packet
from tests.sdk.linked import Linked, emit, emits, link_to
from tests.sdk.service_peer import TIMEOUT, ServicePeer
from tests.support.service import MoorageProcess

# -- with a real service ----------------------------------------------------------------------------


async def test_a_real_service(service: MoorageProcess) -> None:
    link = link_to(service.connection_string, "me", hub=f"hub_{uuid.uuid4().hex}")
    await link.start()
    assert (link.up, link.closed) == (True, False)
    assert link.hello.resumed is False
    end = await link.request(v1.List, timeout=TIMEOUT)
    assert isinstance(end, v1.Servers)
    assert [(row.id, row.dialect, row.up) for row in end.rows] == [("me", "moorage", True)]
    await link.close()
    assert (link.up, link.closed) == (False, True)


async def test_a_server_id_in_use(service: MoorageProcess) -> None:
    hub = f"hub_{uuid.uuid4().hex}"
    first, second = (link_to(service.connection_string, "twin", hub=hub) for _ in range(2))
    await first.start()
    with pytest.raises(LinkUnavailable, match="link-server-taken"):
        await second.start()
    await first.close()
    third = link_to(service.connection_string, "twin", hub=hub)
    await third.start()
    await third.close()


async def test_a_killed_service_and_its_successor(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moorage.sdk")
    with MoorageProcess() as first:
        port, key = first.url.rpartition(":")[2], first.key
        link = link_to(first.connection_string)
        await link.start()
        first.kill()
        assert await link.ears.next() == "lost"
    link.send(emit("while it was away"))
    waiting = asyncio.create_task(link.request(lambda ref: emit("asked", ref), timeout=60))
    with MoorageProcess("--port", port, "--access-key", key):
        assert await link.ears.next() == "session lost"
        assert await link.ears.next() == "restored"
        with pytest.raises(SessionLost):
            await waiting
        await link.request(v1.List, timeout=TIMEOUT)
        await link.close()
    told = [record.message for record in caplog.records]
    assert any("broke" in line and "reconnecting" in line for line in told)
    assert any("is back" in line for line in told)


# -- with one that does as it is told -----------------------------------------------------------------


async def test_one_write_for_all_frames_of_a_turn(peer: ServicePeer, link: Linked) -> None:
    before = peer.messages
    for number in range(50):
        link.send(emit(str(number)))
    assert await emits(peer, 50) == [str(number) for number in range(50)]
    assert peer.messages == before + 1


async def test_a_cut_loses_and_reorders_nothing(peer: ServicePeer, link: Linked) -> None:
    sent = 0
    for _ in range(4):
        await peer.hello()
        for _ in range(20):
            link.send(emit(str(sent)))
            sent += 1
            if sent % 7 == 0:
                await asyncio.sleep(0)
        await peer.send(Drain(float(sent)))
        peer.cut()
        for _ in range(20):
            link.send(emit(str(sent)))
            sent += 1
        frames = [await link.ears.next() for _ in range(3)]
        assert sorted(map(str, frames)) == sorted(["lost", "restored", str(Drain(float(sent - 20)))])
    assert await emits(peer, sent) == [str(number) for number in range(sent)]


async def test_the_first_attempt_comes_soon(peer: ServicePeer, link: Linked) -> None:
    """The service keeps a session for some seconds only."""
    await peer.hello()
    began = asyncio.get_running_loop().time()
    peer.cut()
    assert (await peer.hello()).session == link.session.id
    assert asyncio.get_running_loop().time() - began < 4.0


async def test_a_request_outlives_a_cut(peer: ServicePeer, link: Linked) -> None:
    waiting = asyncio.create_task(link.request(lambda ref: emit("asked", ref), timeout=TIMEOUT))
    ref = (await peer.frame(Emit)).ref
    peer.cut()
    assert await link.ears.next() == "lost"
    assert await link.ears.next() == "restored"
    await peer.send(v1.Done(ref, 5))
    assert await waiting == v1.Done(ref, 5)


async def test_a_forgotten_session(peer: ServicePeer, link: Linked) -> None:
    waiting = asyncio.create_task(link.request(lambda ref: emit("asked", ref), timeout=TIMEOUT))
    await peer.frame(Emit)
    peer.forget()
    peer.cut()
    assert await link.ears.next() == "lost"
    link.send(Packet(1, b"42[]"))
    link.send(emit("to rooms"))
    assert await link.ears.next() == "session lost"
    assert await link.ears.next() == "restored"
    with pytest.raises(SessionLost):
        await waiting
    assert await emits(peer, 1) == ["to rooms"], "and not the packet for a client that is gone"
    await peer.send(Drain(1.0))
    assert await link.ears.next() == Drain(1.0), "the new session counts from one"


async def test_down_for_longer_than_the_grace_time(peer: ServicePeer) -> None:
    """Clients are told in time, not when the service comes back some day."""
    peer.grace, peer.keepalive = 200, 200
    link = link_to(peer.connection_string)
    await link.start()
    waiting = asyncio.create_task(link.request(lambda ref: emit("asked", ref), timeout=60))
    await peer.frame(Emit)
    port = await peer.stop()
    assert await link.ears.next() == "lost"
    assert await link.ears.next() == "session lost"
    with pytest.raises(SessionLost):
        await waiting
    await peer.hello()
    await peer.listen(port)
    assert (await peer.hello()).session == ""
    assert await link.ears.next() == "restored"
    await link.close()


async def test_a_node_that_keeps_sockets_is_away_for_longer_than_the_grace_time(
    peer: ServicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients may find their sockets after its restart, so the app keeps them, too."""
    monkeypatch.setattr("moorage.sdk.aio.link.GRACE_EXTRA", 0.1)
    peer.grace, peer.keepalive, peer.keeps = 200, 200, True
    link = link_to(peer.connection_string)
    await link.start()
    port = await peer.stop()
    assert await link.ears.next() == "lost"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.ears.next(), 0.8)
    peer.forget()
    await peer.hello()
    await peer.listen(port)
    assert await link.ears.next() == "session lost"
    assert await link.ears.next() == "restored"
    await link.close()


async def test_a_silent_service(peer: ServicePeer) -> None:
    peer.keepalive = 100
    link = link_to(peer.connection_string)
    await link.start()
    assert await link.ears.next() == "lost"
    await link.close()


async def test_keep_alive(peer: ServicePeer) -> None:
    """Both ends have nothing to say, and say so."""
    peer.keepalive = 400
    link = link_to(peer.connection_string)
    await link.start()
    before = peer.messages
    async with asyncio.timeout(TIMEOUT):
        # Longer than a link may be silent.
        while peer.messages - before < 4:
            await peer.acknowledge()
            await asyncio.sleep(0.1)
    assert link.up
    await link.close()


async def test_what_came_is_acknowledged_without_a_keep_alive(peer: ServicePeer) -> None:
    peer.keepalive = 600_000
    link = link_to(peer.connection_string)
    await link.start()
    await peer.send(Drain(1.0))
    await link.ears.next()
    async with asyncio.timeout(TIMEOUT):
        while peer.session.out.in_flight:
            await asyncio.sleep(0.02)
    await link.close()


async def test_held_back(peer: ServicePeer, link: Linked) -> None:
    """While the application is full the service gets no credit back, and then all at once."""
    link.hold(True)
    for _ in range(5):
        await peer.send(Packet(1, b"x" * 1_000_000))
        await link.ears.next()
    link.send(emit("an ack would ride on this"))
    await peer.frame(Emit)
    assert peer.session.out.in_flight > 5_000_000
    assert peer.session.out.blocked
    link.hold(False)
    async with asyncio.timeout(TIMEOUT):
        while peer.session.out.in_flight:
            await asyncio.sleep(0.01)


async def test_back_pressure(peer: ServicePeer) -> None:
    peer.takes, peer.window = False, 1000
    link = link_to(peer.connection_string, max_queue_bytes=CONGESTED_BYTES + 1000)
    await link.start()
    link.send(emit("x" * 2000))
    await peer.frame(Emit)
    link.send(emit("x" * (CONGESTED_BYTES + 100)))
    states = [link.congested]
    drained = asyncio.create_task(link.drained())
    with pytest.raises(QueueFull):
        link.send(emit("x" * 2000))
    await asyncio.sleep(0)
    assert not drained.done()
    await peer.acknowledge()
    await asyncio.wait_for(drained, TIMEOUT)
    states.append(link.congested)
    assert states == [True, False]
    peer.takes = True
    await peer.acknowledge()
    await link.close()


async def test_nobody_waits_for_a_link_that_is_down(peer: ServicePeer) -> None:
    """Emits queue up to the bound and are refused from there on; nothing hangs."""
    peer.takes, peer.window = False, 1000
    link = link_to(peer.connection_string, max_queue_bytes=CONGESTED_BYTES + 1000)
    await link.start()
    link.send(emit("uses up the credit" * 100))
    await peer.frame(Emit)
    link.send(emit("x" * CONGESTED_BYTES))
    drained = asyncio.create_task(link.drained())
    await asyncio.sleep(0)
    assert not drained.done()
    port = await peer.stop()
    await asyncio.wait_for(drained, TIMEOUT)
    await link.drained()
    with pytest.raises(QueueFull, match="the service is away or does not keep up"):
        link.send(emit("y" * 2000))
    peer.takes = True
    await peer.listen(port)
    assert await emits(peer, 1) == ["x" * CONGESTED_BYTES]
    await link.close()


async def test_closing_wakes_those_who_wait(peer: ServicePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.sdk.aio.link.LEAVE_SECONDS", 0.1)
    peer.takes, peer.window = False, 1000
    link = link_to(peer.connection_string)
    await link.start()
    link.send(emit("uses up the credit" * 100))
    await peer.frame(Emit)
    link.send(emit("x" * (CONGESTED_BYTES + 100)))
    waiting = [
        asyncio.create_task(link.drained()),
        asyncio.create_task(link.request(v1.List, timeout=None)),
    ]
    await asyncio.sleep(0)
    await link.close()
    drained, answer = await asyncio.gather(*waiting, return_exceptions=True)
    assert (drained, type(answer)) == (None, LinkClosed)
    link.send(emit("nobody is there any more"))
    for _ in range(3):
        with pytest.raises(LinkClosed) as caught:
            await link.request(v1.List, timeout=None)
        assert len(caught.traceback) == 3, "and does not keep those before"


async def test_a_farewell(peer: ServicePeer, link: Linked) -> None:
    """What was queued arrives, then the close that gives the session back."""
    link.send(emit("last words"))
    await link.close()
    assert await emits(peer, 1) == ["last words"]
    assert await peer.close() == (1000, "link-closed")
    await link.close()


async def test_draining(peer: ServicePeer, link: Linked) -> None:
    left = asyncio.Event()
    closing = asyncio.create_task(link.close(drain=float("inf"), empty=left.is_set))
    assert await peer.frame(Drain) == Drain(2.0**31), "the most that can be said"
    assert link.up
    left.set()
    await asyncio.wait_for(closing, TIMEOUT)
    assert (await peer.close())[0] == 1000


async def test_drained_for_long_enough(peer: ServicePeer, link: Linked) -> None:
    await asyncio.wait_for(link.close(drain=0.1), TIMEOUT)
    assert (await peer.close())[0] == 1000


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xc1",
        "text",
        v1.encode_batch(9, 0, [v1.encode_frame(Drain(1.0))]),
        v1.encode_batch(0, 99, []),
        b"\x93\x01\x00\x91\x91\xcc\xfe",
    ],
)
async def test_junk_ends_the_session(peer: ServicePeer, link: Linked, junk: bytes | str) -> None:
    """Resumed, it would come again."""
    await peer.hello()
    await peer.raw(junk)
    if junk == "text":
        # No batch at all: not for us to interpret, and nothing is lost.
        await peer.send(Drain(1.0))
        assert await link.ears.next() == Drain(1.0)
        return
    assert sorted([await link.ears.next(), await link.ears.next()]) == ["lost", "session lost"]
    assert await peer.close() == (1002, "link-bad-frame")
    assert (await peer.hello()).session == ""
    assert await link.ears.next() == "restored"


async def test_the_service_cannot_read_us(peer: ServicePeer, link: Linked) -> None:
    await peer.hello()
    await peer.connection.close(1002, "link-bad-frame")
    assert [await link.ears.next() for _ in range(2)] == ["lost", "session lost"]
    assert (await peer.hello()).session == ""


async def test_refused_for_good_while_reconnecting() -> None:
    with MoorageProcess() as first:
        port = first.url.rpartition(":")[2]
        link = link_to(first.connection_string)
        await link.start()
        first.kill()
        assert await link.ears.next() == "lost"
    with MoorageProcess("--port", port, "--access-key", "another"):
        assert await link.ears.next() == "session lost"
        assert await link.ears.next() == "failed"
        with pytest.raises(LinkRefused, match="token-signature"):
            link.send(emit("x"))
    await link.close()
