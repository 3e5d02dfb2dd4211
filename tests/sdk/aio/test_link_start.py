"""How a link begins: the first connect, and what a request waits for."""

from __future__ import annotations

import asyncio
import math

import pytest

from moorage.sdk.errors import (
    LinkRefused,
    LinkUnavailable,
    RequestTimeout,
)
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Drain, Emit
from tests.sdk.linked import Linked, emit, link_to
from tests.sdk.service_peer import TIMEOUT, ServicePeer


async def test_nobody_listens() -> None:
    link = link_to("Endpoint=http://127.0.0.1:1;AccessKey=key;")
    with pytest.raises(LinkUnavailable, match=r"Is Moorage running at that address"):
        await link.start()
    assert link.closed


async def test_waiting_for_the_service() -> None:
    async with ServicePeer() as peer:
        link = link_to(peer.connection_string)
        port = await peer.stop()
        starting = asyncio.create_task(link.start(wait=True))
        done, _ = await asyncio.wait([starting], timeout=0.3)
        assert not done
        await peer.listen(port)
        await asyncio.wait_for(starting, TIMEOUT)
        await link.close()


async def test_a_service_that_does_not_greet(peer: ServicePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.greets = False
    monkeypatch.setattr("moorage.sdk.aio.link.CONNECT_SECONDS", 0.1)
    with pytest.raises(LinkUnavailable, match="did not answer"):
        await link_to(peer.connection_string).start()


@pytest.mark.parametrize("first", [b"", b"hello", v1.encode_batch(0, 0, [])])
async def test_a_wrong_greeting(peer: ServicePeer, first: bytes) -> None:
    peer.first = first
    with pytest.raises(LinkRefused, match=r"does not speak moorage\.v1"):
        await link_to(peer.connection_string).start()


async def test_another_revision(peer: ServicePeer) -> None:
    peer.revision = 0
    with pytest.raises(LinkRefused, match="revision 0"):
        await link_to(peer.connection_string).start()


@pytest.mark.parametrize(
    ("close", "kind", "told"),
    [
        ((1002, "link-version"), LinkRefused, "4007 link-version"),
        ((1008, "link-server-taken"), LinkUnavailable, "4008 link-server-taken.*each worker needs its own"),
        ((1001, "draining"), LinkUnavailable, "1100 draining"),
        ((1011, ""), LinkUnavailable, "before greeting"),
    ],
)
async def test_closed_before_the_greeting(
    peer: ServicePeer, close: tuple[int, str], kind: type[Exception], told: str
) -> None:
    peer.close_with = close
    with pytest.raises(kind, match=told):
        await link_to(peer.connection_string).start()


async def test_a_request_without_an_answer(peer: ServicePeer) -> None:
    peer.keepalive = 400
    link = link_to(peer.connection_string)
    await link.start()
    with pytest.raises(RequestTimeout):
        await link.request(v1.List, timeout=0.05)
    await link.close()


async def test_a_cancelled_request_is_forgotten(peer: ServicePeer, link: Linked) -> None:
    waiting = asyncio.create_task(link.request(lambda ref: emit("asked", ref), timeout=math.inf))
    ref = (await peer.frame(Emit)).ref
    waiting.cancel()
    await asyncio.wait([waiting])
    await peer.send(v1.Done(ref, 1), Drain(1.0))
    assert await link.ears.next() == Drain(1.0)
