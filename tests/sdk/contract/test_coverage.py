"""An app server with a session at each of two scripted nodes, `a` and `b`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from moorage.sdk import SessionLost
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow
from tests.sdk.contract.executors import Executor
from tests.sdk.service_peer import TIMEOUT, ServicePeer
from tests.sdk.threads.world import Record

ALL = v1.To("/")


def emit(payload: bytes) -> v1.Emit:
    return v1.Emit(0, ALL, 0, payload)


class Pair:
    """`a` is where the connection string leads, and so the home."""

    def __init__(self, executor: Executor, a: ServicePeer, b: ServicePeer) -> None:
        self.executor = executor
        self.a = a
        self.b = b
        self.sio = executor.server()
        self.moorage: Any = None
        self.version = 0

    def nodes(self, *peers: ServicePeer, uncovered: ServicePeer | None = None) -> v1.Nodes:
        """A new list of nodes."""
        self.version += 1
        rows = (
            NodeRow(peer.node, peer.node.upper(), f"http://127.0.0.1:{peer.port}", "", peer is not uncovered)
            for peer in peers
        )
        return v1.Nodes(self.version, tuple(rows))

    async def start(self, **options: Any) -> None:
        """Link, and see both sessions covered."""
        async with asyncio.timeout(TIMEOUT):
            linking = asyncio.create_task(self.executor.link(self.sio, self.a.connection_string, **options))
            question = await self.a.frame(v1.List)
            await self.a.send(self.nodes(self.a, self.b), v1.Servers(question.ref, ()))
            self.moorage = await linking
        assert await self.a.frame(v1.Cover) == v1.Cover(1, True, False, ("a", "b"))
        assert await self.b.frame(v1.Cover) == v1.Cover(1, False, True, ("a", "b"))

    async def client(self, peer: ServicePeer, number: int = 1) -> str:
        """A client with a socket in `/`; its id."""
        await peer.send(v1.Open(number, f"client of {peer.node}", None, b"{}"))
        assert (await peer.frame(v1.Opened)).client == number
        await peer.send(v1.Packet(number, b"40"))
        frame = await peer.frame(v1.Packet)
        assert frame.client == number
        return frame.payload.decode().split('"')[3]

    async def call(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call something that waits."""
        async with asyncio.timeout(TIMEOUT):
            return await self.executor.call(function, *args, **options)

    def begin(self, function: Any, *args: Any, **options: Any) -> asyncio.Task[Any]:
        """Call something that waits for a frame which the test sends."""
        return asyncio.create_task(self.call(function, *args, **options))


@pytest.fixture
async def pair(executor: Executor) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(ServicePeer()) for _ in "ab"]
        for peer, name in zip(peers, "ab", strict=True):
            peer.node, peer.revision = name, 4
        made = Pair(executor, *peers)
        yield made
        if made.moorage is not None:
            await executor.call(made.moorage.close)


async def test_commands_go_to_all_and_answers_are_put_together(pair: Pair) -> None:
    await pair.start()
    assert pair.moorage.nodes == ("A", "B")
    await pair.call(pair.sio.emit, "news")
    for peer in (pair.a, pair.b):
        assert await peer.frame(v1.Emit) == emit(b'42["news"]')
    joining = pair.begin(pair.moorage.sockets_join, "room")
    for peer, count in ((pair.a, 3), (pair.b, 4)):
        frame = await peer.frame(v1.Join)
        await peer.send(v1.Done(frame.ref, count))
    assert await joining == 7
    asking = pair.begin(pair.moorage.emit_with_acks, "ask")
    for peer in (pair.a, pair.b):
        ask = await peer.frame(v1.Ask)
        await peer.send(v1.Asked(ask.ref, 2), v1.Answer(ask.ref, peer.node, b'430["x"]'))
        await peer.send(v1.Done(ask.ref, 1, (f"missing at {peer.node}",)))
    acks = await asking
    assert acks.answers == {"a": "x", "b": "x"}
    assert sorted(acks.missing) == ["missing at a", "missing at b"]


async def test_clients_with_one_number_at_two_nodes_are_two(pair: Pair) -> None:
    await pair.start()
    sids = [await pair.client(peer) for peer in (pair.a, pair.b)]
    for sid, peer in zip(sids, (pair.a, pair.b), strict=True):
        await pair.call(pair.sio.emit, "direct", to=sid)
        assert await peer.frame(v1.Packet) == v1.Packet(1, b'42["direct"]')
        entering = pair.begin(pair.sio.enter_room, sid, "room")
        enter = await peer.frame(v1.Enter)
        assert enter.client == 1
        await peer.send(v1.Done(enter.ref, 1))
        await entering
        await peer.send(v1.Moved(1, "/", True, (f"of {peer.node}",)), v1.Query(5, "/", (sid,)))
        assert await peer.frame(v1.Facts) == v1.Facts(5, (v1.Chunk(1, b"[{}]"),))
        assert set(pair.sio.rooms(sid)) == {sid, "room", f"of {peer.node}"}
    gone = Record()
    pair.sio.on("disconnect", gone)
    await pair.b.send(v1.Closed(1, 0, "", "transport close"))
    assert await gone.wait(1) == [(sids[1], "transport close")]


async def test_questions_of_app_servers_are_for_the_home_and_are_answered_where_they_came(pair: Pair) -> None:
    await pair.start()
    pair.moorage.on_server_event("ask")(lambda: "answer")
    await pair.call(pair.moorage.server_side_emit, "tell")
    assert (await pair.a.frame(v1.Tell)).payload == b'42["tell"]'
    await pair.b.send(v1.Told(9, "other", "/", b'42["ask"]'))
    assert await pair.b.frame(v1.Reply) == v1.Reply(9, b'430["answer"]')


async def test_a_lost_session_ends_its_clients_alone(pair: Pair) -> None:
    await pair.start()
    here, there = await pair.client(pair.a), await pair.client(pair.b)
    gone, lost = Record(), Record()
    pair.sio.on("disconnect", gone)
    pair.moorage.on("session_lost", lost)
    asking = pair.begin(pair.moorage.fetch_sockets)
    fetch = await pair.a.frame(v1.Fetch)
    await pair.b.frame(v1.Fetch)
    await pair.a.send(v1.Done(fetch.ref, 0))
    pair.b.forget()
    pair.b.cut()
    assert await gone.wait(1) == [(there, "transport close")]
    assert (await asking).missing == ("B",)
    assert await pair.a.frame(v1.Cover) == v1.Cover(2, True, False, ("a",))
    assert await pair.a.frame(v1.Cover) == v1.Cover(3, True, False, ("a", "b"))
    assert await pair.b.frame(v1.Cover) == v1.Cover(3, False, True, ("a", "b"))
    await pair.call(pair.sio.emit, "direct", to=here)
    assert await pair.a.frame(v1.Packet) == v1.Packet(1, b'42["direct"]')
    assert not lost.notes


async def test_a_new_home_forwards_what_the_lost_one_had_not_taken(pair: Pair) -> None:
    await pair.start()
    pair.a.takes = False
    await pair.call(pair.sio.emit, "untaken")
    for peer in (pair.a, pair.b):
        await peer.frame(v1.Emit)
    pair.a.greets = False
    pair.a.cut()
    await pair.b.send(pair.nodes(pair.b))
    assert await pair.b.frame(v1.Cover) == v1.Cover(2, True, False, ("b",))
    again = await pair.b.frame(v1.Again)
    assert isinstance(again.frame, v1.Emit)
    assert (again.frame.payload, again.frame.number > 0) == (b'42["untaken"]', True)
    assert pair.moorage.nodes == ("B",)
    assert pair.moorage.up
    await pair.call(pair.sio.emit, "later")
    assert await pair.b.frame(v1.Emit) == emit(b'42["later"]')


async def test_a_slow_node_does_not_fail_an_emit(pair: Pair) -> None:
    await pair.start(max_queue_bytes=100_000)
    gone = Record()
    pair.sio.on("disconnect", gone)
    sid = await pair.client(pair.b)
    pair.b.greets = False
    pair.b.cut()
    frames = []
    for _ in range(5):
        await pair.call(pair.sio.emit, "large", "x" * 30_000)
        frames.append(await pair.a.any_frame())
    frames.append(await pair.a.any_frame())
    assert [frame for frame in frames if type(frame) is not v1.Emit] == [v1.Cover(2, True, False, ("a",))]
    assert await gone.wait(1) == [(sid, "transport close")]


async def test_another_node_than_the_one_that_was_dialled_is_left(pair: Pair) -> None:
    pair.b.node = "c"
    async with asyncio.timeout(TIMEOUT):
        linking = asyncio.create_task(pair.executor.link(pair.sio, pair.a.connection_string))
        question = await pair.a.frame(v1.List)
        pair.b.node = "b"
        listed = pair.nodes(pair.a, pair.b)
        pair.b.node = "c"
        await pair.a.send(listed, v1.Servers(question.ref, ()))
        assert await pair.b.close() == (1000, "link-closed")
        pair.b.node = "b"
        pair.moorage = await linking
    assert (await pair.b.frame(v1.Cover)).nodes == ("a", "b")


async def test_a_node_that_need_not_be_covered_any_more_is_left(pair: Pair) -> None:
    await pair.start()
    await pair.a.send(pair.nodes(pair.a, pair.b, uncovered=pair.b))
    assert await pair.a.frame(v1.Cover) == v1.Cover(2, True, False, ("a",))
    assert await pair.b.close() == (1000, "link-closed")


async def test_when_all_links_break_it_is_as_with_one(pair: Pair) -> None:
    await pair.start()
    events, lost = Record(), Record()
    for name in ("link_lost", "link_restored"):
        pair.moorage.on(name, lambda *_, name=name: events(name))
    pair.moorage.on("session_lost", lost)
    for peer in (pair.a, pair.b):
        peer.forget()
        peer.cut()
    await events.wait(2)
    assert list(events.notes) == ["link_lost", "link_restored"]


async def test_an_older_service_has_one_session(pair: Pair) -> None:
    pair.a.revision = 3
    pair.moorage = await pair.executor.link(pair.sio, pair.a.connection_string)
    await pair.call(pair.sio.emit, "first")
    assert await pair.a.frame(v1.Emit) == emit(b'42["first"]'), "nothing comes before it"
    assert pair.moorage.nodes == ()


async def test_a_request_that_all_nodes_lose_fails(pair: Pair) -> None:
    await pair.start()
    joining = pair.begin(pair.moorage.sockets_join, "room")
    for peer in (pair.a, pair.b):
        await peer.frame(v1.Join)
        peer.forget()
        peer.cut()
    with pytest.raises(SessionLost):
        await joining


async def test_a_link_that_looks_for_any_node_and_finds_a_taken_one_tries_again(pair: Pair) -> None:
    await pair.start()
    events = Record()
    for name in ("link_restored", "link_failed"):
        pair.moorage.on(name, lambda *_, name=name: events(name))
    for peer in (pair.a, pair.b):
        peer.close_with = (4009, "link-server-taken")
        peer.cut()
    for peer in (pair.a, pair.b):
        # The first hello was that of the start.
        for _ in range(2):
            await peer.hello()
    for peer in (pair.a, pair.b):
        peer.close_with = None
    assert await events.wait(1) == ["link_restored"]
