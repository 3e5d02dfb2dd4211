"""`use_moorage_sync` and what it returns: real service, stock clients."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import socketio

from moorage.sdk.errors import (
    LinkClosed,
    LinkRefused,
    LinkUnavailable,
    UsageError,
)
from tests.sdk.threads.world import SECONDS, Record, World, event, new_server, next_of, world_of
from tests.support.programs import Program, running
from tests.support.service import ROOT, MoorageProcess

NOBODY = "Endpoint=http://127.0.0.1:9;AccessKey=x;Version=1.0;"


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


class Packed(socketio.packet.Packet):  # type: ignore[misc]
    """A packet of some other form than text."""

    uses_binary_events = False


async def test_wrong_arguments_are_named_at_once(world: World) -> None:
    right = world.service.connection_string
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (new_server(), {"connection_string": ""}, UsageError, "connection string is empty"),
        (new_server(), {"hub": "no hub!"}, UsageError, "not a hub name"),
        (new_server(serializer=Packed), {}, UsageError, "its own serializer"),
        (new_server(client_manager=socketio.PubSubManager()), {}, UsageError, "client_manager"),
        (socketio.AsyncServer(), {}, UsageError, "await use_moorage"),
        (object(), {}, UsageError, "a socketio.Server"),
        (new_server(), {"threads": 0}, UsageError, "threads"),
        (new_server(), {"connection_string": right.replace("Key=", "Key=x")}, LinkRefused, "AccessKey"),
        (new_server(), {"connection_string": NOBODY}, LinkUnavailable, "127.0.0.1:9"),
    ]
    for server, options, kind, words in wrong:
        with pytest.raises(kind, match=words):
            await world.serve(server, **options)
    assert threading.active_count() < 30, "no thread is left behind"


async def test_a_server_with_green_threads_is_refused(world: World) -> None:
    for mode in ("eventlet", "gevent"):
        server = new_server()
        server.async_mode = mode
        with pytest.raises(UsageError, match=f"async_mode is '{mode}'"):
            await world.serve(server)


async def test_a_server_that_could_not_be_linked_is_as_before(world: World) -> None:
    sio = new_server()
    eio, manager = sio.eio, sio.manager
    with pytest.raises(LinkUnavailable):
        await world.serve(sio, connection_string=NOBODY)
    assert (sio.eio, sio.manager) == (eio, manager)
    await world.serve(sio)
    with pytest.raises(UsageError, match="uses Moorage already"):
        await world.serve(sio)


# --- beyond python-socketio -----------------------------------------------------------------------------


async def test_acks_of_many_and_who_is_missing(world: World) -> None:
    asker, _ = await world.serve(), await world.serve()
    asked, later = asyncio.Event(), asyncio.Event()

    async def keep_waiting(_number: int) -> None:
        asked.set()
        await later.wait()

    clients = [await world.client(on={"question": lambda number, n=n: number + n}) for n in range(3)]
    silent = await world.client(on={"question": keep_waiting})
    sid = silent.get_sid()
    # The wait for the silent one lasts until the end, and gives the others time enough.
    asking = asyncio.create_task(asyncio.to_thread(asker.emit_with_acks, "question", 40, timeout=10.0))
    await asyncio.wait_for(asked.wait(), SECONDS)
    await silent.disconnect()
    acks = await asking
    later.set()
    assert acks.answers == {client.get_sid(): 40 + n for n, client in enumerate(clients)}
    assert acks.missing == (sid,)
    one = await asyncio.to_thread(asker.emit_with_acks, "question", 1, to=clients[1].get_sid(), skip=sid)
    assert (one.answers, one.missing) == ({clients[1].get_sid(): 2}, ())


async def test_sockets_of_all_app_servers_are_moved_and_disconnected(world: World) -> None:
    first, second = await world.serve(), await world.serve()
    gone = Record()
    for moorage in (first, second):
        moorage.sio.on("disconnect", gone)
    clients = [await world.client() for _ in range(4)]
    sids = [client.get_sid() for client in clients]

    def check(expected: dict[str, set[str]]) -> None:
        assert {socket.id: socket.rooms for socket in second.fetch_sockets()} == expected
        own = {sid for sid, _ in first.sio.manager.get_participants("/", None)}
        assert 0 < len(own) < 4
        assert {sid: set(first.sio.rooms(sid)) for sid in own} == {sid: expected[sid] for sid in own}

    def act() -> None:
        assert first.sockets_join(["a", "b"]) == 4
        check({sid: {sid, "a", "b"} for sid in sids})
        assert first.sockets_leave("b", to="a", skip=sids[0]) == 3
        check({sids[0]: {sids[0], "a", "b"}} | {sid: {sid, "a"} for sid in sids[1:]})
        assert first.disconnect_sockets(to="b") == 1
        assert first.disconnect_sockets(close=True) == 3

    await asyncio.to_thread(act)
    assert sorted(await gone.wait(4)) == sorted((sid, "server disconnect") for sid in sids)


async def test_local_and_volatile_emits(world: World) -> None:
    first, second = await world.serve(), await world.serve()
    clients = [await world.client() for _ in range(4)]
    first.emit("near", local=True)
    first.emit("now", 1, volatile=True, skip=clients[0].get_sid())
    first.emit("end")
    heard: dict[str, list[str]] = {}
    for client in clients:
        names = heard.setdefault(client.get_sid(), [])
        while (name := (await next_of(client.heard))[0]) != "end":
            names.append(name)
    own = {sid for sid, _ in first.sio.manager.get_participants("/", None)}
    assert 0 < len(own) < 4
    assert {sid for sid, names in heard.items() if "near" in names} == own
    assert {sid for sid, names in heard.items() if "now" in names} == heard.keys() - {clients[0].get_sid()}
    assert second.up


# --- what cannot be sent, and the end ---------------------------------------------------------------------


async def test_close_tells_handlers_gives_back_the_server_and_refuses_questions(world: World) -> None:
    sio, gone = new_server(), Record()
    eio, manager = sio.eio, sio.manager
    sio.on("disconnect", gone)
    moorage = await world.serve(sio)
    client = await world.client()
    ended = asyncio.Event()
    client.on("disconnect", ended.set)
    sid = client.get_sid()
    await asyncio.to_thread(moorage.close)
    assert gone.notes == [(sid, "transport close")]
    assert (sio.eio, sio.manager) == (eio, manager)
    await asyncio.wait_for(ended.wait(), SECONDS)
    with pytest.raises(LinkClosed):
        moorage.fetch_sockets()
    moorage.close()
    with await world.serve(sio) as again:
        assert again.up
    assert not again.up


async def test_disconnect_handlers_of_close_still_reach_others(world: World) -> None:
    sio, failed = new_server(), Record()

    @event(sio)
    def disconnect(sid: str, _reason: str) -> None:
        try:
            sio.emit("left", sid)
            sio.emit("left too", sid)
        except LinkClosed as error:
            failed(error)

    leaving = await world.serve(sio)
    goes = await world.client()
    sid = goes.get_sid()
    await world.serve()
    stays = await world.client()
    await asyncio.to_thread(leaving.close)
    assert [await next_of(stays.heard) for _ in range(2)] == [("left", sid), ("left too", sid)]
    assert failed.notes == []


async def test_close_in_a_handler_that_order_depends_on_does_not_wait_for_itself(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sio, gone = new_server(), Record()
    moorage = await world.serve(sio)

    @event(sio)
    def disconnect(sid: str, _reason: str) -> None:
        moorage.close()
        gone(sid)

    client = await world.client()
    sid = client.get_sid()
    await client.disconnect()
    assert await gone.wait(1) == [sid]
    assert "closed while" not in caplog.text


PROGRAM = """
import sys, threading, socketio
from moorage.sdk import use_moorage_sync
sio = socketio.Server(async_mode="threading")
stuck = threading.Event()
sio.on("stick", lambda sid: stuck.wait())
moorage = use_moorage_sync(sio, hub=sys.argv[1], connection_string=sys.argv[2], server_id="leaver")
sio.emit("last words")
{end}
"""


def program(world: World, *arguments: str) -> AbstractAsyncContextManager[Program]:
    """Start a Python program. Its arguments are the hub and the connection string."""
    command = (sys.executable, *arguments, world.hub, world.service.connection_string)
    return running(*command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, cwd=ROOT)


@pytest.mark.parametrize(
    ("end", "status"),
    [("", 0), ("sys.exit(3)", 3), ("raise SystemExit(4)", 4), ("moorage.close()", 0)],
)
async def test_the_interpreter_ends_at_once_says_nothing_and_takes_its_leave(
    world: World, end: str, status: int
) -> None:
    other = await world.serve()
    async with program(world, "-X", "dev", "-c", PROGRAM.format(end=end)) as process:
        assert (await process.end(), process.output) == (status, "")
    assert [server.id for server in await asyncio.to_thread(other.servers)] == [other.server_id]


FORKS = """
import os, sys, socketio, threading
from moorage.sdk import LinkClosed, use_moorage_sync
sio = socketio.Server(async_mode="threading")
where = {"hub": sys.argv[1], "connection_string": sys.argv[2]}
connected = threading.Event()
sio.on("connect", lambda *_: connected.set())
sio.on("disconnect", lambda *_: print("disconnected in", "the parent" if child else "a child"))
moorage = use_moorage_sync(sio, **where)
print("linked", flush=True)
assert connected.wait(20)
child = os.fork()
if not child:
    for emit in (moorage.emit, sio.emit):
        try:
            emit("news")
        except LinkClosed as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError("sent, and by whom?")
    moorage.close()
    anew = use_moorage_sync(sio, **where)
    assert anew.server_id in {server.id for server in anew.servers()}
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
moorage.emit("news")
moorage.close()
"""


async def test_a_forked_child_is_told_and_may_link_anew(world: World) -> None:
    async with program(world, "-c", FORKS) as process:
        assert await process.line() == "linked"
        client = await world.client()
        while (await next_of(client.heard)) != ("news",):
            pass
        assert (await process.end(), process.output) == (0, "linked\ndisconnected in the parent\n")


@pytest.mark.repair(16)
async def test_a_thread_that_goes_on_while_the_server_closes_and_after_is_not_disturbed(world: World) -> None:
    sio, failed = new_server(), Record()
    moorage = await world.serve(sio)
    await world.client()
    over = threading.Event()
    rounds = 0

    def work() -> None:
        nonlocal rounds
        try:
            while not over.is_set():
                sio.emit("tick", "x" * 1_000)
                sio.emit("tick", room="room", callback=lambda *_: None)
                sio.disconnect("nobody")
                sio.close_room("other")
                moorage.emit("tick")
                moorage.server_side_emit("tick")
                moorage.sockets_join("a", to="nobody")
                moorage.sockets_leave("a", to="nobody")
                moorage.disconnect_sockets(to="nobody")
                rounds += 1
        except BaseException as error:
            failed(error)

    async def more_rounds() -> None:
        before = rounds
        async with asyncio.timeout(SECONDS):
            while rounds < before + 3 and not failed.notes:
                await asyncio.sleep(0.01)

    working = asyncio.create_task(asyncio.to_thread(work))
    await more_rounds()
    await asyncio.to_thread(moorage.close)
    await more_rounds()
    over.set()
    await working
    assert failed.notes == []
    assert moorage.sockets_join("a") == 0
