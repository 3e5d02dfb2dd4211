"""`use_moorage`, and the server API beyond python-socketio, over several app servers of one hub."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import fastapi
import pytest
import socketio
import uvicorn

from moorage.sdk import (
    LinkClosed,
    LinkRefused,
    LinkUnavailable,
    Moorage,
    NotSerialisable,
    UsageError,
    use_moorage,
)
from tests.sdk.conftest import SECONDS, Client, Heard, World, until


def server(**options: Any) -> Any:
    """A server."""
    return socketio.AsyncServer(async_mode="asgi", **options)


@pytest.fixture
async def pair(world: World) -> tuple[Moorage, Moorage]:
    """Two app servers."""
    return await world.app(), await world.app()


async def one_each(world: World, pair: tuple[Moorage, Moorage]) -> tuple[Client, Client]:
    """A client of the first app server, and one of the second."""
    by_server: dict[Moorage, Client] = {}
    while len(by_server) < 2:
        client = await world.client(on={"ask": lambda *data: ("yes", *data)})
        owner = next(one for one in pair if one.sio.rooms(client.get_sid()))
        if owner in by_server:
            await client.disconnect()
        else:
            by_server[owner] = client
    return by_server[pair[0]], by_server[pair[1]]


# -- starting and ending ----------------------------------------------------------------------------


async def test_it_has_a_hub_and_an_id(world: World) -> None:
    sio = server()
    eio, manager = sio.eio, sio.manager
    moorage = await world.app(sio, server_id="me")
    assert (moorage.up, moorage.server_id, moorage.hub, moorage.sio) == (True, "me", world.hub, sio)
    assert sio.eio is not eio
    await moorage.close()
    assert not moorage.up
    assert (sio.eio, sio.manager) == (eio, manager), "as it was"
    await moorage.close()
    with pytest.raises(LinkClosed):
        await moorage.servers()
    again = await world.app(sio, server_id="me")
    assert again.up


async def test_close_sends_clients_to_other_app_servers(world: World) -> None:
    """Clients come back to another app server, and each has its disconnect."""
    first, second = server(), server()
    gone, came = Heard(), Heard()

    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0.01)
        gone(sid, await first.get_session(sid))

    first.on("disconnect", disconnect)
    second.on("connect", lambda sid, environ: came(sid))
    async with await use_moorage(
        first, hub=world.hub, connection_string=world.service.connection_string
    ) as moorage:
        client = await world.client()
        sid = client.get_sid()
        await first.save_session(sid, {"x": 1})
        await moorage.emit("last words")
    assert await gone.next() == (sid, {"x": 1}), "waited for"
    assert await client.heard.next() == ("last words",)
    assert (await client.heard.next())[0] == "disconnect"
    await world.app(second)
    await world.client()
    await came.next()


async def test_close_with_drain_waits_for_its_clients(world: World) -> None:
    first = await world.app()
    stays = await world.client()
    second = await world.app()
    closing = asyncio.create_task(first.close(drain=SECONDS))
    await asyncio.sleep(0)
    await first.servers()  # which the service answers after it has read the drain
    for _ in range(4):
        client = await world.client()
        assert second.sio.rooms(client.get_sid())
    assert not closing.done()
    await stays.disconnect()
    await closing
    assert [one.id for one in await second.servers()] == [second.server_id]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"connection_string": ""}, "connection string is empty"),
        ({"connection_string": "Endpoint=http://x"}, "no AccessKey"),
        ({"hub": "no hub"}, "is not a hub name"),
        ({"server_id": "x" * 129}, "server_id must have 1 to 128"),
        ({"server_id": 7}, "server_id must have 1 to 128"),
        ({"max_queue_bytes": 0}, "max_queue_bytes must be 1 or more, not 0"),
        ({"sio": None}, "takes a socketio.AsyncServer, not NoneType"),
        ({"sio": socketio.Server(async_mode="threading")}, "use_moorage_sync"),
        ({"sio": server(client_manager=socketio.AsyncRedisManager())}, "leave out `client_manager=`"),
    ],
)
async def test_wrong_arguments_are_refused(options: dict[str, Any], told: str) -> None:
    given = {"hub": "app", "connection_string": "Endpoint=http://127.0.0.1:1;AccessKey=key", **options}
    sio = given.pop("sio", server())
    with pytest.raises(UsageError, match=told):
        await use_moorage(sio, **given)


async def test_wrong_endpoints_are_named(world: World) -> None:
    sio = server()
    eio, manager = sio.eio, sio.manager
    text = world.service.connection_string
    with pytest.raises(LinkRefused, match="token-signature"):
        await use_moorage(sio, hub=world.hub, connection_string=text.replace("AccessKey=", "AccessKey=x"))
    with pytest.raises(LinkUnavailable, match="Is Moorage running"):
        await use_moorage(sio, hub=world.hub, connection_string="Endpoint=http://127.0.0.1:1;AccessKey=key")
    assert (sio.eio, sio.manager) == (eio, manager), "nothing is left behind"
    await world.app(sio)
    with pytest.raises(UsageError, match="uses Moorage already"):
        await world.app(sio)


async def test_errors_of_the_start_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def start() -> None:
        await use_moorage(server(), hub="app", connection_string="Endpoint=http://127.0.0.1:1;AccessKey=key")

    app = socketio.ASGIApp(server(), on_startup=start)  # which swallows what `start` raises
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.failed"]
    assert "use_moorage: cannot reach http://127.0.0.1:1 " in caplog.text


# -- emits ------------------------------------------------------------------------------------------


async def test_local_and_volatile_emits(world: World, pair: tuple[Moorage, Moorage]) -> None:
    one, two = await one_each(world, pair)
    first, _ = pair
    await first.emit("local", 1, local=True)
    await first.emit("volatile", (2, b"x"), volatile=True)
    await first.emit("to", 3, to=two.get_sid())
    await first.emit("skip", 4, skip=[two.get_sid()])
    await first.emit("end")
    assert await one.heard.some(4) == [("local", 1), ("volatile", 2, b"x"), ("skip", 4), ("end",)]
    assert await two.heard.some(3) == [("volatile", 2, b"x"), ("to", 3), ("end",)]


async def test_acks_of_many_sockets_are_gathered(world: World, pair: tuple[Moorage, Moorage]) -> None:
    one, two = await one_each(world, pair)
    silent = await world.raw()
    await silent.send("40")
    sid = (await silent.text()).split('"')[3]
    # The wait for the silent one lasts until the end, and gives the others time enough.
    asking = asyncio.create_task(pair[0].emit_with_acks("ask", (1, b"x"), timeout=10.0))
    assert (await silent.text()).startswith("451-")
    await silent.http.close()
    acks = await asking
    answer = ("yes", 1, b"x")
    assert acks.answers == {one.get_sid(): answer, two.get_sid(): answer}
    assert acks.missing == (sid,)
    acks = await pair[0].emit_with_acks("ask", to=two.get_sid())
    assert (acks.answers, acks.missing) == ({two.get_sid(): "yes"}, ())
    acks = await pair[0].emit_with_acks("ask", to="empty")
    assert (acks.answers, acks.missing) == ({}, ())
    with pytest.raises(NotSerialisable, match=r"args\[0\]"):
        await pair[0].emit_with_acks("ask", object())
    for wrong in (0, -1, float("nan"), 1e9):
        with pytest.raises(UsageError, match="timeout must be"):
            await pair[0].emit_with_acks("ask", timeout=wrong)


# -- sockets ----------------------------------------------------------------------------------------


async def test_sockets_of_all_app_servers_are_fetched(world: World, pair: tuple[Moorage, Moorage]) -> None:
    one, two = await one_each(world, pair)
    a, b = one.get_sid(), two.get_sid()
    await pair[0].sio.save_session(a, {"name": "ann", "odd": {1}})
    await pair[1].sio.save_session(b, {"name": "bob", "odd": {1}})
    await pair[1].sio.enter_room(b, "room")
    for asker in pair:
        found = {found.id: found for found in await asker.fetch_sockets()}
        assert found.keys() == {a, b}
        assert [found[sid].data for sid in (a, b)] == [{"name": "ann"}, {"name": "bob"}]
        assert found[b].left_out == {"data.odd": "set is not JSON serialisable"}
        assert (found[a].rooms, found[b].rooms) == (frozenset({a}), frozenset({b, "room"}))
        assert (found[a].server_id, found[b].server_id) == (pair[0].server_id, pair[1].server_id)
        assert found[b].handshake["address"] == "127.0.0.1"
        assert found[b].namespace == "/"
        assert [one.id for one in await asker.fetch_sockets("room")] == [b]
        assert [one.id for one in await asker.fetch_sockets(skip="room")] == [a]
        assert [one.id for one in await asker.fetch_sockets([a, "room"], skip=[b])] == [a]
        assert len(await asker.fetch_sockets(namespace="/empty")) == 0


async def test_an_app_server_that_hangs_is_missing(world: World) -> None:
    """The answer comes in time, with all sockets, and says whose data it lacks."""
    asker = await world.app()
    hanging = subprocess.Popen(
        [sys.executable, "-c", _HANGING, world.hub, world.service.connection_string],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert hanging.stdout is not None
        assert hanging.stdin is not None
        await asyncio.to_thread(hanging.stdout.readline)
        while len({found.server_id for found in await asker.fetch_sockets()}) < 2:
            await world.client()
        hanging.stdin.write("hang\n")
        hanging.stdin.flush()
        await asyncio.to_thread(hanging.stdout.readline)
        began = asyncio.get_running_loop().time()
        found = await asker.fetch_sockets(timeout=1.0)
        assert asyncio.get_running_loop().time() - began < 20
        assert found.missing == ("hanging",)
        assert {one.server_id for one in found} == {"hanging", asker.server_id}
        acks = await asker.server_side_emit_with_ack("x", timeout=0.3)
        assert acks.missing == ("hanging",)
    finally:
        hanging.kill()
        hanging.communicate()


_HANGING = """
import asyncio, sys, time, socketio
from moorage.sdk import use_moorage
async def main():
    await use_moorage(socketio.AsyncServer(async_mode="asgi"), hub=sys.argv[1],
                      connection_string=sys.argv[2], server_id="hanging")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("hanging", flush=True)
    time.sleep(60)
asyncio.run(main())
"""


async def test_sockets_of_all_app_servers_are_moved(world: World, pair: tuple[Moorage, Moorage]) -> None:
    one, two = await one_each(world, pair)
    a, b = one.get_sid(), two.get_sid()
    first, second = pair
    assert await first.sockets_join(["x", 7], to=b) == 1
    assert await second.sockets_join("y") == 2
    await until(lambda: set(second.sio.rooms(b)) == {b, "x", "7", "y"})
    await until(lambda: set(first.sio.rooms(a)) == {a, "y"})
    await first.emit("seven", to=7)
    assert await two.heard.next() == ("seven",)
    assert await second.sockets_leave("y", to="y", skip=a) == 1
    assert await first.sockets_leave(["x", 7], to="x") == 1
    await until(lambda: second.sio.rooms(b) == [b])
    assert set(first.sio.rooms(a)) == {a, "y"}
    assert await first.sockets_join("z", to="nobody") == 0
    nobody: tuple[Any, ...] = ([], (), set())
    assert [await first.disconnect_sockets(to=none) for none in nobody] == [0, 0, 0]
    assert list(await first.fetch_sockets([])) == []
    await first.emit("nothing", to=[])
    await first.emit("all", to=None, skip=[])
    assert await two.heard.next() == ("all",)


async def test_sockets_of_all_app_servers_are_disconnected(
    world: World, pair: tuple[Moorage, Moorage]
) -> None:
    one, two = await one_each(world, pair)
    gone = Heard()
    for moorage in pair:
        moorage.sio.on("disconnect", gone)
    a, b = one.get_sid(), two.get_sid()
    assert await pair[0].disconnect_sockets(to=b) == 1
    assert await gone.next() == (b, "server disconnect")
    assert (await two.heard.next())[0] == "disconnect"
    assert await pair[1].disconnect_sockets(close=True) == 1
    assert await gone.next() == (a, "server disconnect")
    await until(lambda: not pair[0].sio.environ)
    assert gone.empty


async def test_disconnect_handlers_run_before_close_returns(
    world: World, pair: tuple[Moorage, Moorage], caplog: pytest.LogCaptureFixture
) -> None:
    """They have the link still: those of other app servers hear who has left."""
    one, two = await one_each(world, pair)
    sio, gone = pair[0].sio, Heard()

    async def disconnect(sid: str, reason: str) -> None:
        await sio.emit("left", sid)
        gone(reason)

    sio.on("disconnect", disconnect)
    sid = one.get_sid()
    await pair[0].close()
    assert await gone.next() == ("transport close",)
    assert await two.heard.next() == ("left", sid)
    assert (await one.heard.next())[0] == "disconnect"
    assert [line for line in caplog.messages if "emit_only" not in line] == []


async def test_closed_by_a_disconnect_handler(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It does not wait for itself."""
    moorage, closed = await world.app(), Heard()

    async def disconnect(sid: str) -> None:
        await moorage.close()
        closed()

    moorage.sio.on("disconnect", disconnect)
    client = await world.client()
    await client.disconnect()
    await closed.next()
    assert not caplog.records


# -- in a web application ---------------------------------------------------------------------------


async def test_in_a_fastapi_lifespan(world: World) -> None:
    sio = server()

    async def hello(sid: str, name: str) -> str:
        await sio.emit("joined", name)
        return f"hello {name}"

    sio.on("hello", hello)

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        async with await use_moorage(
            sio, hub=world.hub, connection_string=world.service.connection_string
        ) as app.state.moorage:
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    async def count() -> dict[str, int]:
        return {"sockets": len(await app.state.moorage.fetch_sockets())}

    app.get("/count")(count)
    listener = socket.create_server(("127.0.0.1", 0))
    web = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio, app), log_config=None))
    serving = asyncio.create_task(web.serve([listener]))
    try:
        await until(lambda: web.started)
        client = await world.client()
        assert await client.call("hello", "ann", timeout=10) == "hello ann"
        assert await client.heard.next() == ("joined", "ann")
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with aiohttp.ClientSession() as http, http.get(f"{base}/count") as answer:
            assert await answer.json() == {"sockets": 1}
        async with aiohttp.ClientSession() as http, http.get(f"{base}/socket.io/?EIO=4") as answer:
            assert answer.status == 400
            assert world.hub in await answer.text()
    finally:
        web.should_exit = True
        await serving
    assert (await client.heard.next())[0] == "disconnect"


@pytest.mark.repair(16)
async def test_a_task_that_goes_on_while_the_server_closes_and_after_is_not_disturbed(world: World) -> None:
    """As with python-socketio, where a server that is shut down has nobody to emit to any more."""
    sio = server()
    moorage = await world.app(sio)
    client = await world.client()
    sid = client.get_sid()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        while True:
            await sio.emit("tick", "x" * 1_000)
            await sio.emit("tick", room="room", callback=lambda *_: None)
            await sio.disconnect("nobody")
            await sio.close_room("other")
            await moorage.emit("tick")
            await moorage.server_side_emit("tick")
            await moorage.sockets_join("a", to="nobody")
            await moorage.sockets_leave("a", to="nobody")
            await moorage.disconnect_sockets(to="nobody")
            rounds += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    await until(lambda: rounds > 3 or working.done())
    await moorage.close()
    before = rounds
    await until(lambda: rounds > before + 3 or working.done())
    assert not working.done(), working.exception()
    working.cancel()
    assert await moorage.sockets_join("a") == 0
    with pytest.raises(ValueError, match="sid is not connected"):
        await sio.enter_room(sid, "a")
