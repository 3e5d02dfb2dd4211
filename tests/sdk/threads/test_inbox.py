"""What other app servers are told of ours, and that a busy app server makes the service wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from moorage.sdk.threads import inbox
from tests.sdk.threads.world import SECONDS, Record, World, event, new_server, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


async def test_sessions_and_auth_of_all_app_servers_sockets_are_fetched(world: World) -> None:
    here, there = new_server(), new_server()
    fetching, other = await world.serve(here), await world.serve(there)
    for number in range(4):
        client = await world.client(auth={"number": number})
        owner = here if client.get_sid() in here.manager.members.by_id else there
        owner.save_session(client.get_sid(), {"number": number, "lock": threading.Lock()})
        await asyncio.to_thread(owner.enter_room, client.get_sid(), f"room {number}")
    sockets = await asyncio.to_thread(fetching.fetch_sockets)
    assert sockets.missing == ()
    assert {socket.server_id for socket in sockets} == {fetching.server_id, other.server_id}
    found = {socket.data["number"]: socket for socket in sockets}
    assert sorted(found) == [0, 1, 2, 3]
    for number, socket in found.items():
        assert socket.handshake["auth"] == {"number": number}
        assert socket.rooms == {socket.id, f"room {number}"}
        assert socket.left_out == {"data.lock": "lock is not JSON serialisable"}
    (only,) = await asyncio.to_thread(fetching.fetch_sockets, "room 2", skip=found[1].id)
    assert only.id == found[2].id


async def test_a_busy_app_server_holds_the_service_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_PENDING", 50_000)
    sio, go, done = new_server(), threading.Event(), Record()
    held: list[bool] = []

    def slow(_sid: str, _data: str) -> None:
        assert go.wait(SECONDS)
        done(1)

    sio.on("slow", slow)
    moorage = await world.serve(sio, threads=1)
    hold = moorage.link.link.hold
    seen = threading.Event()

    def note(wanted: bool) -> None:
        held.append(wanted)
        seen.set()
        hold(wanted)

    monkeypatch.setattr(moorage.link.link, "hold", note)
    client = await world.client()
    for _ in range(40):
        await client.emit("slow", "x" * 5_000)
    assert await asyncio.to_thread(seen.wait, SECONDS)
    assert held[0] is True
    go.set()
    await done.wait(40)
    while held[-1]:
        await asyncio.sleep(0.01)
    assert moorage.sio.rooms(client.get_sid()) == [client.get_sid()]


async def test_an_app_server_whose_handlers_are_all_busy_still_tells_of_its_sockets(world: World) -> None:
    sio, go, busy = new_server(), threading.Event(), Record()

    @event(sio)
    def block(sid: str) -> None:
        busy(sid)
        assert go.wait(SECONDS)

    await world.serve(sio, threads=1)
    client = await world.client(auth="Ada")
    await client.emit("block")
    await busy.wait(1)
    asking = await world.serve()
    sockets = await asyncio.to_thread(asking.fetch_sockets)
    go.set()
    assert sockets.missing == ()
    assert [socket.handshake["auth"] for socket in sockets] == ["Ada"]


async def test_an_ack_that_a_handler_waits_for_comes_through_what_waits_for_handlers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_PENDING", 1_000_000)
    sio, answers, loads = new_server(), Record(), Record()
    sio.on("ask", lambda sid: answers(sio.call("question", to=sid, timeout=10)))
    sio.on("load", lambda _sid, _data: loads(1))
    await world.serve(sio, threads=1)

    async def question() -> str:
        # More than the service sends unacknowledged; the answer is behind it.
        for _ in range(60):
            await client.emit("load", "x" * 100_000)
        return "at last"

    client = await world.client(on={"question": question})
    await client.emit("ask")
    assert await answers.wait(1) == ["at last"]
    await loads.wait(60)
