"""Several links of one app server, each to a scripted service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from moorage.sdk.aio.fleet import Fleet
from moorage.wire.connection_string import parse
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow
from tests.sdk.linked import Ears, emit
from tests.sdk.service_peer import TIMEOUT, ServicePeer


@pytest.fixture
async def peers() -> AsyncIterator[list[ServicePeer]]:
    async with AsyncExitStack() as stack:
        made = []
        for name in ("a", "b"):
            peer = await stack.enter_async_context(ServicePeer())
            peer.node, peer.revision = name, 4
            made.append(peer)
        yield made


def nodes(peers: list[ServicePeer], version: int = 1) -> v1.Nodes:
    """All of them are to be covered."""
    return v1.Nodes(
        version,
        tuple(
            NodeRow(peer.node, f"node {peer.node}", f"http://127.0.0.1:{peer.port}", "", True)
            for peer in peers
        ),
    )


async def begin(peers: list[ServicePeer], ears: Ears) -> Fleet:
    """The first peer lists both, and the links come up."""
    first, second = peers
    links = Fleet(parse(first.connection_string), "app", "one", ears)
    async with asyncio.timeout(TIMEOUT):
        starting = asyncio.create_task(links.start())
        question = await first.frame(v1.List)
        await first.send(nodes(peers), v1.Servers(question.ref, ()))
        hellos = [await peer.hello() for peer in peers]
        assert hellos[0].instance == hellos[1].instance
        await starting
    ids = tuple(peer.node for peer in peers)
    assert await second.frame(v1.Cover) == v1.Cover(1, False, True, ids)
    assert await first.frame(v1.Cover) == v1.Cover(1, True, False, ids)
    return links


async def test_each_session_is_told_what_is_covered(peers: list[ServicePeer]) -> None:
    links = await begin(peers, Ears())
    assert links.nodes == ("node a", "node b")
    links.send(emit("all"))
    for peer in peers:
        assert await peer.frame(v1.Emit) == emit("all")
    await links.close()
    assert [await peer.close() for peer in peers] == [(1000, "link-closed")] * 2
