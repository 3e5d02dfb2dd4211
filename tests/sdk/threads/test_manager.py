"""Rooms, emits and callbacks from any thread, for the sockets of all app servers."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import socketio

from moorage.sdk.errors import QueueFull
from tests.sdk.threads.world import Record, World, event, new_server, next_of, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


async def test_an_emit_reaches_each_of_its_rooms_once_and_not_who_is_skipped(world: World) -> None:
    sio = new_server()
    await world.serve(sio)
    clients = {name: await world.client() for name in "abcd"}
    sids = {name: client.get_sid() for name, client in clients.items()}

    def act() -> None:
        for name in "ab":
            sio.enter_room(sids[name], "one")
        for name in "bc":
            sio.enter_room(sids[name], 2)
        sio.emit("news", {"n": 1}, to=["one", 2])
        sio.emit("news", {"n": 2}, to="one", skip_sid=sids["a"])
        sio.emit("news", {"n": 3}, skip_sid=[sids["a"], sids["b"]])
        sio.leave_room(sids["b"], "one")
        sio.close_room(2)
        sio.emit("news", {"n": 4}, to=["one", 2])
        sio.send("end")
        assert [sio.rooms(sids[name]) for name in "bc"] == [[sids["b"]], [sids["c"]]]

    await asyncio.to_thread(act)
    heard: dict[str, list[int]] = {}
    for name, client in clients.items():
        heard[name] = []
        while (event := await next_of(client.heard)) != ("message", "end"):
            heard[name].append(event[1]["n"])
    assert heard == {"a": [1, 4], "b": [1, 2], "c": [1, 3], "d": [3]}


async def test_call_and_callbacks_from_handlers_and_other_threads(world: World) -> None:
    sio, answers = new_server(), Record()

    @event(sio)
    def ask_me(sid: str) -> Any:
        sio.emit("question", "by callback", to=sid, callback=answers)
        return sio.call("question", "by call", to=sid)

    await world.serve(sio)
    later = asyncio.Event()
    client = await world.client(on={"question": lambda text: (text.upper(), b"!"), "riddle": later.wait})
    assert await client.call("ask_me") == ("BY CALL", b"!")
    assert await answers.wait(1) == [("BY CALLBACK", b"!")]
    assert await asyncio.to_thread(sio.call, "question", "outside", to=client.get_sid()) == ("OUTSIDE", b"!")
    with pytest.raises(socketio.exceptions.TimeoutError):
        await asyncio.to_thread(sio.call, "riddle", to=client.get_sid(), timeout=0.1)
    later.set()


async def test_callbacks_may_block_and_ask_on(world: World) -> None:
    sio, answers = new_server(), Record()
    await world.serve(sio)
    first, second = [await world.client(on={"question": lambda number: number + 1}) for _ in range(2)]

    def ask_the_other(number: int) -> None:
        sio.enter_room(first.get_sid(), "asked")
        answers(number, sio.call("question", number, to=second.get_sid(), timeout=10))

    sio.emit("question", 1, to=first.get_sid(), callback=ask_the_other)
    assert await answers.wait(1) == [(2, 3)]


async def test_call_does_not_depend_on_a_free_thread(world: World) -> None:
    sio = new_server()
    all_in = threading.Barrier(4)

    @event(sio)
    def ask_me(sid: str) -> Any:
        all_in.wait(10)
        return sio.call("question", to=sid, timeout=10)

    await world.serve(sio, threads=4)
    clients = [await world.client(on={"question": lambda: 42}) for _ in range(4)]
    assert await asyncio.gather(*(client.call("ask_me") for client in clients)) == [42] * 4


async def test_one_threads_emits_keep_their_order_among_many_threads(world: World) -> None:
    sio = new_server()
    await world.serve(sio)
    client = await world.client()
    sid = client.get_sid()

    def emit_from(thread: int) -> None:
        for number in range(100):
            # Direct, to all, with attachments, with an acknowledgement: all the ways a packet goes.
            kind = number % 4
            data: Any = (thread, number, b"attached") if kind == 1 else (thread, number, None)
            callback = (lambda *_args: None) if kind == 2 else None
            sio.emit("count", data, to=None if kind == 3 else sid, callback=callback)

    await asyncio.gather(*(asyncio.to_thread(emit_from, thread) for thread in range(4)))
    last = [-1] * 4
    for _ in range(400):
        name, thread, number, data = await next_of(client.heard)
        assert (name, number, data) == ("count", last[thread] + 1, b"attached" if number % 4 == 1 else None)
        last[thread] = number
    assert last == [99] * 4


async def test_sockets_of_another_app_server_are_reached(world: World) -> None:
    here, there, gone = new_server(), new_server(), Record()
    await world.serve(here)
    theirs = await world.serve(there)
    there.on("disconnect", gone)
    clients = [await world.client(on={"question": lambda number: number + 1}) for _ in range(4)]
    own = there.manager.rooms.get("/", {}).get(None, {})
    abroad = [client for client in clients if client.get_sid() in own]
    assert 0 < len(abroad) < 4, "clients are spread"
    client = abroad[0]
    sid = client.get_sid()

    def act() -> None:
        assert here.call("question", 41, to=sid) == 42
        there.enter_room(sid, "far")
        here.emit("news", "to a room", to="far")
        here.close_room("far")
        here.emit("news", "to nobody", to="far")
        here.emit("news", "to one", to=sid)
        here.disconnect(sid)

    await asyncio.to_thread(act)
    assert [await next_of(client.heard) for _ in range(2)] == [("news", "to a room"), ("news", "to one")]
    assert await gone.wait(1) == [(sid, "server disconnect")]
    assert theirs.sio.rooms(sid) == []


async def test_a_socket_can_be_skipped_from_its_connect_handler_on(world: World) -> None:
    sio = new_server()

    @event(sio)
    def connect(sid: str, _environ: Any) -> None:
        sio.enter_room(sid, "lobby")
        sio.emit("joined", to="lobby", skip_sid=sid)
        sio.emit("welcome", to="lobby")

    await world.serve(sio)
    first = await world.client()
    assert await next_of(first.heard) == ("welcome",)
    second = await world.client()
    assert [await next_of(first.heard) for _ in range(2)] == [("joined",), ("welcome",)]
    assert await next_of(second.heard) == ("welcome",)


async def test_a_room_that_cannot_be_asked_for_is_not_entered(world: World) -> None:
    sio = new_server()
    moorage = await world.serve(sio)
    client = await world.client()
    sid = client.get_sid()
    moorage.link.max_queue_bytes = 0
    with pytest.raises(QueueFull):
        await asyncio.to_thread(sio.enter_room, sid, "room")
    assert sio.rooms(sid) == [sid]


@pytest.mark.repair(19)
@pytest.mark.parametrize("in_a_task", [False, True])
async def test_what_a_connect_handler_emits_to_all(world: World, in_a_task: bool) -> None:
    """It reaches the socket that is connecting once, as with the library alone, and all others."""
    sio = new_server()

    def connect(sid: str, environ: Any) -> None:
        def tell() -> None:
            sio.emit("all", sid)
            sio.emit("room", sid, room=sid)
            sio.emit("others", sid, skip_sid=sid)
            sio.emit("elsewhere", sid, room="nobody")

        if in_a_task:
            sio.start_background_task(tell).join()
        else:
            tell()

    sio.on("connect", connect)
    await world.serve(sio)
    one = await world.client()
    two = await world.client()
    await asyncio.to_thread(sio.emit, "last")
    a, b = one.get_sid(), two.get_sid()

    async def until_last(client: Any) -> list[Any]:
        heard = []
        while (event := await next_of(client.heard)) != ("last",):
            heard.append(event)
        return heard

    assert await until_last(one) == [("all", a), ("room", a), ("all", b), ("others", b)]
    assert await until_last(two) == [("all", b), ("room", b)]


async def connected_before_it_is_noted(world: World, sio: Any, go_on: threading.Event) -> str:
    """A client has the answer to its CONNECT. The thread that has sent it goes on with `go_on`. The socket's
    id."""
    await world.serve(sio)
    post = sio.eio._post

    def slowly(frame: Any, session: str) -> None:
        post(frame, session)
        assert go_on.wait(20)

    sio.eio._post = slowly
    sid: str = (await world.client()).get_sid()
    return sid


async def in_time(go_on: threading.Event, function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in a thread before `go_on` is set, and set it."""
    call = asyncio.create_task(asyncio.to_thread(function, *args))
    # Long enough for a call that does not wait.
    await asyncio.wait({call}, timeout=0.1)
    go_on.set()
    return await call


async def test_a_client_is_disconnected_right_after_the_answer_to_its_connect(world: World) -> None:
    """It may be connected before the thread that has sent the answer goes on."""
    sio, ends, go_on = new_server(), Record(), threading.Event()
    sio.on("disconnect", ends)
    sid = await connected_before_it_is_noted(world, sio, go_on)
    await in_time(go_on, sio.disconnect, sid)
    assert await ends.wait(1) == [(sid, sio.reason.SERVER_DISCONNECT)]


@pytest.mark.parametrize("question", ["is_connected", "is_pre_connected"])
async def test_a_client_counts_as_connected_from_the_answer_to_its_connect_on(
    world: World, question: str
) -> None:
    sio, go_on = new_server(), threading.Event()
    sid = await connected_before_it_is_noted(world, sio, go_on)
    answer = await in_time(go_on, getattr(sio.manager, question), sid, "/")
    assert answer is (question == "is_connected")


@pytest.mark.repair(19)
async def test_emits_that_race_with_connects_come_once(world: World) -> None:
    sio = new_server()
    go = threading.Event()
    numbers = itertools.count()
    end = threading.Event()

    def connect(sid: str, environ: Any) -> None:
        go.set()

    def emit_all_the_time() -> None:
        go.wait()
        while not end.wait(0.0005):
            sio.emit("n", next(numbers))

    sio.on("connect", connect)
    await world.serve(sio)
    emitter = threading.Thread(target=emit_all_the_time)
    emitter.start()
    clients = [await world.client() for _ in range(10)]
    end.set()
    await asyncio.to_thread(emitter.join)
    # Each client hears at least this one, even if the thread had no turn after the last client came.
    await asyncio.to_thread(sio.emit, "n", next(numbers))
    await asyncio.to_thread(sio.emit, "last")
    for client in clients:
        heard = []
        while (event := await next_of(client.heard)) != ("last",):
            heard.append(event[1])
        assert heard == list(range(heard[0], heard[0] + len(heard))), "each once, none left out"
