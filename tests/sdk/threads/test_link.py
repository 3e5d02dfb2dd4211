"""The link on a thread: what threads send while it is up, down, congested and over."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest

from moorage.sdk.errors import LinkClosed, LinkUnavailable, QueueFull, RequestTimeout
from moorage.sdk.threads.app_server import ThreadedMoorage
from moorage.sdk.threads.inbox import ThreadsInbox
from moorage.sdk.threads.link import ThreadedLink
from moorage.wire.connection_string import parse
from moorage.wire.moorage.v1 import List, Servers
from tests.sdk.threads.world import SECONDS, Record, World, new_server, next_of, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


@pytest.fixture
def mortal() -> Iterator[MoorageProcess]:
    """A service that a test may end."""
    with MoorageProcess("--set", "shutdown.lb_wait=0s") as running:
        yield running


async def cut(moorage: ThreadedMoorage) -> None:
    """Break the link's WebSocket, as a network would."""
    broken = threading.Event()

    def break_it() -> None:
        # On the link's own thread: here it may be about to notice that the last cut has broken it.
        link = moorage.link.link._home
        if moorage.up and link._socket is not None:
            link._socket.break_off()
            broken.set()
        else:
            moorage.link.loop.call_later(0.01, break_it)

    moorage.link.call_soon(break_it)
    assert await asyncio.to_thread(broken.wait, SECONDS)


async def bereft(world: World, mortal: MoorageProcess, max_queue_bytes: int) -> ThreadedMoorage:
    """An app server whose service is gone, and that knows it."""
    moorage = await world.serve(max_queue_bytes=max_queue_bytes)
    lost = Record()
    moorage.on("link_lost", lost)
    mortal.kill()
    await lost.wait(1)
    return moorage


async def test_a_cut_loses_and_reorders_nothing(world: World) -> None:
    sio, events, numbers = new_server(), Record(), Record()
    sio.on("number", lambda _sid, number: numbers(number))
    moorage = await world.serve(sio)
    moorage.on("link_lost", lambda error: events("lost"))
    moorage.on("link_restored")(lambda: events("restored"))
    client = await world.client()

    def emit() -> None:
        for number in range(300):
            sio.emit("number", number)
            sio.enter_room(client.get_sid(), number)  # waits for the service: the cuts come in between

    emitting = asyncio.create_task(asyncio.to_thread(emit))
    for number in range(100):
        await client.emit("number", number)
        if number % 40 == 20:
            await cut(moorage)
    await emitting
    assert [await next_of(client.heard) for _ in range(300)] == [("number", number) for number in range(300)]
    assert sorted(await numbers.wait(100)) == list(range(100))
    assert set(await events.wait(2)) == {"lost", "restored"}
    assert len(sio.rooms(client.get_sid())) == 301


async def test_a_service_that_is_gone_bounds_the_queue_and_times_requests_out(mortal: MoorageProcess) -> None:
    async with world_of(mortal) as world:
        moorage = await bereft(world, mortal, 100_000)

        def fill() -> None:
            for _ in range(1000):
                moorage.emit("news", "x" * 1000)

        with pytest.raises(QueueFull, match="max_queue_bytes is 100000"):
            await asyncio.to_thread(fill)
        moorage.emit("news", "x" * 50_000, volatile=True)  # dropped, and no error
        with pytest.raises(RequestTimeout):
            await asyncio.to_thread(moorage.link.request, List, seconds=0.1)
        await asyncio.to_thread(moorage.close)
        moorage.emit("news")  # nobody is there any more


async def test_emits_wait_for_a_congested_link(world: World) -> None:
    sio = new_server()
    moorage = await world.serve(sio)
    link, most = moorage.link, Record()
    client = await world.client()

    def flood(callback: Callable[..., object] | None) -> None:
        for _ in range(200):
            sio.emit("flood", "x" * 100_000, to="nobody", callback=callback)
            most(link.link.session.waiting)
        sio.emit("end")

    await asyncio.gather(*(asyncio.to_thread(flood, callback) for callback in (None, print)))
    assert max(most.notes) < 2 * 1024 * 1024, "20 MB went through a queue that never held much"
    assert [await next_of(client.heard) for _ in range(2)] == [("end",)] * 2


async def test_the_links_thread_cannot_wait_for_itself(world: World) -> None:
    moorage = await world.serve()
    found = Record()

    def try_it() -> None:
        try:
            moorage.link.request(List)
        except RuntimeError as error:
            found(str(error))

    moorage.link.call_soon(try_it)
    assert await found.wait(1) == ["the link's thread cannot wait for itself"]
    assert isinstance(await asyncio.to_thread(moorage.link.request, List), Servers)


async def test_requests_that_wait_fail_when_the_link_is_closed(mortal: MoorageProcess) -> None:
    async with world_of(mortal) as world:
        moorage = await world.serve()
        lost = Record()
        moorage.on("link_lost", lost)
        mortal.kill()
        await lost.wait(1)
        waiting = asyncio.create_task(asyncio.to_thread(moorage.servers))
        while not moorage.link.link.session.waiting:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(moorage.close)
        with pytest.raises(LinkClosed):
            await waiting


async def test_a_drain_that_the_queue_has_no_room_for_leaves_nobody_waiting(mortal: MoorageProcess) -> None:
    async with world_of(mortal) as world:
        moorage = await bereft(world, mortal, 1000)
        waiting = asyncio.create_task(asyncio.to_thread(moorage.servers))
        while not moorage.link.link.session.waiting:
            await asyncio.sleep(0.01)
        with pytest.raises(QueueFull):
            moorage.emit("news", "x" * 860)
            moorage.emit("news", "x" * 860)
        moorage.link.link.session.max_queue_bytes = 0
        await asyncio.to_thread(moorage.close, 0.1)
        with pytest.raises(LinkClosed):
            await asyncio.wait_for(waiting, SECONDS)


async def test_a_drain_ends_with_the_last_client_and_those_who_close_at_once_agree(world: World) -> None:
    moorage = await world.serve()
    await world.client()
    closing = asyncio.gather(*(asyncio.to_thread(moorage.close, 60.0) for _ in range(3)))
    await world.clients[0].disconnect()
    await asyncio.wait_for(closing, SECONDS)
    assert not moorage.up


async def test_a_log_handler_may_emit_what_is_logged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moorage = await world.serve(max_queue_bytes=320_000)
    client = await world.client()
    # In a batch each name takes a byte more than is charged for it.
    rooms = [f"{number:05}" for number in range(60_000)]
    log = logging.getLogger("moorage.sdk")
    monkeypatch.setattr(log, "handle", lambda record: moorage.emit("log", record.getMessage()))
    moorage.emit("news", to=rooms)
    name, text = await next_of(client.heard)
    assert name == "log"
    assert text.startswith("A Emit is lost")


async def test_emits_before_the_first_link_are_told_why(world: World) -> None:
    target = parse("Endpoint=http://127.0.0.1:9;AccessKey=x;Version=1.0;")
    inbox = ThreadsInbox(print)
    link = ThreadedLink(target, world.hub, "early", inbox)
    starting = asyncio.create_task(asyncio.to_thread(link.start, wait=True))
    while link._link is None:
        await asyncio.sleep(0.01)
    with pytest.raises(LinkUnavailable, match="still waits"):
        link.send(List(0))
    await asyncio.to_thread(link._stop)
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_nobody_is_left_waiting_by_a_link_that_closes_under_them(world: World) -> None:
    for _ in range(10):
        moorage = await world.serve()
        over = threading.Event()

        def ask(moorage: ThreadedMoorage = moorage, over: threading.Event = over) -> None:
            while not over.is_set():
                with suppress(LinkClosed):
                    moorage.servers()

        asking = [asyncio.create_task(asyncio.to_thread(ask)) for _ in range(4)]
        await asyncio.to_thread(moorage.close)
        over.set()
        await asyncio.wait_for(asyncio.gather(*asking), SECONDS)
