"""Both executors hand clients over, and take them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError as RefusedError

from moorage.sdk import HandedOver
from moorage.sdk.errors import UsageError
from moorage.wire.moorage import v1
from tests.sdk.conftest import until
from tests.sdk.contract.executors import Case
from tests.sdk.service_peer import TIMEOUT

HANDSHAKE = b'{"headers":{"x-a":["1"]}}'


def adopt(*rows: v1.Arriving, number: int = 7) -> v1.Adopt:
    """A client of another app server."""
    return v1.Adopt(number, f"client{number}", "ada", HANDSHAKE, "websocket", rows or (row(),))


def row(namespace: str = "/", data: bytes = b'{"data":{"n":1},"auth":{"token":"t"}}') -> v1.Arriving:
    """Its socket."""
    return v1.Arriving(namespace, f"moved{namespace}", ("red",), data, 40)


async def take(case: Case, *rows: v1.Arriving) -> None:
    """The app server takes a client."""
    await case.peer.send(adopt(*rows))
    assert (await case.peer.frame(v1.Opened)).client == 7


async def test_the_connect_handler_of_an_adopted_client_runs(case: Case) -> None:
    case.sio.on("connect", case.heard)
    await take(case)
    ((sid, environ, auth),) = await case.next()
    assert (sid, auth) == ("moved/", {"token": "t"})
    assert environ["moorage.handed_over"] is True
    assert (environ["moorage.user_id"], environ["HTTP_X_A"]) == ("ada", "1")
    assert environ["moorage.connection_id"] == "client7"
    assert await case.call(case.sio.get_session, "moved/") == {"n": 1}
    assert set(case.sio.rooms("moved/")) == {"moved/", "red"}


async def test_a_client_that_comes_without_sockets_connects_as_an_ordinary_one(case: Case) -> None:
    case.sio.on("connect", case.heard)
    await take(case)
    await case.next()
    await case.peer.send(v1.Adopt(8, "client8", None, adopt().handshake, "websocket", ()))
    await case.peer.send(v1.Packet(8, b"40"))
    _, environ, _ = (await case.next())[0]
    assert environ["moorage.connection_id"] == "client8"
    assert environ["moorage.handed_over"] is False


async def test_a_connect_handler_without_auth_may_take_two_arguments(case: Case) -> None:
    case.sio.on("connect", lambda sid, environ: case.heard(sid))
    await take(case, row(data=b""))
    assert await case.next() == ["moved/"]


async def test_events_of_an_adopted_client_come_after_its_connect_handler(case: Case) -> None:
    case.sio.on("connect", lambda sid, environ, auth: case.heard("connect"))
    case.sio.on("a", lambda sid, value: case.heard("a", value))
    await case.peer.send(adopt(), v1.Packet(7, b'42["a",1]'))
    assert await case.next(2) == ["connect", ("a", 1)]


async def test_ack_ids_of_an_adopted_client_are_above_those_of_the_former_app_server(case: Case) -> None:
    case.sio.on("connect", lambda sid, environ, auth: None)
    await take(case)
    await case.call(case.sio.emit, "q", to="moved/", callback=case.heard)
    assert await case.packet(7) == b'4241["q"]'
    await case.say(7, b'4341["yes"]')
    assert await case.next() == ["yes"]


@pytest.mark.parametrize("how", ["false", "refused", "error"])
async def test_a_connect_handler_may_refuse_an_adopted_client(case: Case, how: str) -> None:
    def connect(sid: str, environ: Any, auth: Any) -> bool:
        if how == "refused":
            raise RefusedError
        if how == "error":
            raise RuntimeError
        return False

    case.sio.on("connect", connect)
    await take(case)
    assert await case.packet(7) == b"41"
    assert case.sio.manager.rooms.get("/", {}).get("moved/") is None


async def test_a_client_in_an_unknown_namespace_is_refused(case: Case) -> None:
    await case.peer.send(adopt(row("/unknown")))
    assert await case.peer.frame(v1.Refused) == v1.Refused(7, 503, "")


async def test_a_frozen_client_leaves_when_its_handlers_have_ended(case: Case) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def waits(sid: str) -> str:
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return "done"

    def blocks(sid: str) -> str:
        begun.set()
        go_on.wait()
        return "done"

    case.sio.on("slow", blocks if case.executor.threads else waits)
    await case.call(case.sio.save_session, case.sid, {"n": 2})
    await case.peer.send(v1.Packet(1, b'420["slow"]'), v1.Freeze(1))
    await asyncio.to_thread(begun.wait)
    await asyncio.sleep(0.05)
    assert case.peer.frames.empty()
    go_on.set()
    assert await case.packet() == b'430["done"]'
    state = await case.peer.frame(v1.State)
    assert state == v1.State(1, (v1.Leaving("/", case.sid, b'{"data":{"n":2}}', 0),))


async def test_a_released_client_sees_no_disconnect_and_its_acks_still_arrive(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    await case.call(case.sio.emit, "q", to=case.sid, callback=case.heard)
    assert await case.packet() == b'421["q"]'
    await case.peer.send(v1.Freeze(1))
    assert (await case.peer.frame(v1.State)).sockets[0].pending == (1,)
    await case.peer.send(v1.Released(1), v1.Packet(1, b'431["late"]'))
    assert await case.next() == ["late"]
    assert case.sio.manager.rooms == {}
    # What is for this client goes wherever it is.
    await case.call(case.sio.emit, "x", to=case.sid)
    assert (await case.peer.frame(v1.Emit)).to == v1.To("/", (case.sid,))


def frozen_after(case: Case, name: str) -> None:
    """After the manager's method of this name, the client's state leaves first, once."""
    loop, original = asyncio.get_running_loop(), getattr(case.sio.manager, name)

    def late(*args: Any) -> Any:
        setattr(case.sio.manager, name, original)
        result = original(*args)
        asyncio.run_coroutine_threadsafe(case.peer.send(v1.Freeze(1)), loop).result(TIMEOUT)
        assert said.wait(TIMEOUT)
        return result

    said = threading.Event()
    transmit = case.sio.eio.transmit

    def noted(frame: v1.FromApp, session: str) -> None:
        transmit(frame, session)
        said.set()

    case.sio.eio.transmit = noted
    setattr(case.sio.manager, name, late)


@pytest.mark.parametrize("executor", ["threads"], indirect=True)
async def test_an_emit_of_a_thread_does_not_follow_the_clients_state(case: Case) -> None:
    frozen_after(case, "plan_emit")
    await case.call(case.sio.emit, "x", to=case.sid)
    await case.peer.frame(v1.State)
    assert await case.peer.frame(v1.Emit) == v1.Emit(0, v1.To("/", (case.sid,)), 0, b'42["x"]')


@pytest.mark.parametrize("executor", ["threads"], indirect=True)
async def test_a_question_of_a_thread_as_its_client_is_given_away(case: Case) -> None:
    frozen_after(case, "packet_with_ack")
    await case.call(case.sio.emit, "q", to=case.sid, callback=case.heard)
    assert (await case.peer.frame(v1.State)).sockets[0].pending == (1,)
    assert (await case.peer.frame(v1.Emit)).payload == b'421["q"]'
    await case.say(1, b'431["yes"]')
    assert await case.next() == ["yes"]


@pytest.mark.parametrize("executor", ["threads"], indirect=True)
async def test_a_question_of_a_thread_after_the_clients_state_takes_no_ack_id(case: Case) -> None:
    frozen_after(case, "reachable")
    await case.call(case.sio.emit, "q", to=case.sid, callback=case.heard)
    assert (await case.peer.frame(v1.State)).sockets[0].acks == 0
    asked = await case.peer.frame(v1.Ask)
    assert (asked.to, asked.payload) == (v1.To("/", (case.sid,)), b'42["q"]')
    await case.peer.send(v1.Answer(asked.ref, case.sid, b'43["yes"]'), v1.Done(asked.ref, 1))
    assert await case.next() == ["yes"]


async def test_what_an_app_does_with_a_socket_that_moves_goes_by_its_room(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    await case.peer.send(v1.Freeze(1))
    await case.peer.frame(v1.State)
    to = v1.To("/", (case.sid,))
    for call, args, kind in (
        (case.sio.enter_room, (case.sid, "r"), v1.Join),
        (case.sio.leave_room, (case.sid, "r"), v1.Leave),
        (case.sio.disconnect, (case.sid,), v1.Disconnect),
    ):
        calling = case.begin(call, *args)
        frame: Any = await case.peer.frame(kind)
        assert frame.to == to
        await case.peer.send(v1.Done(frame.ref, 1))
        await calling
    assert case.heard.notes == []
    await case.peer.send(v1.Resume(1), v1.Left(1, "/"))
    assert await case.next() == [(case.sid, "server disconnect")]


@pytest.mark.parametrize("end", ["the last ack", "the session's end"])
async def test_nothing_is_left_of_a_released_client(case: Case, end: str) -> None:
    clients = weakref.WeakSet([case.sio.eio.by_number[1]])
    await case.call(case.sio.emit, "q", to=case.sid, callback=case.heard)
    await case.call(case.sio.emit, "q", to=case.sid, callback=case.heard)
    await case.peer.send(v1.Freeze(1))
    while not isinstance(await case.peer.any_frame(), v1.State):
        pass
    await case.peer.send(v1.Released(1), v1.Packet(1, b'431["first"]'))
    assert await case.next() == ["first"]
    assert len(clients) == 1, "it waits for an ack"
    if end == "the last ack":
        await case.peer.send(v1.Packet(1, b'432["second"]'))
        assert await case.next() == ["second"]
    else:
        await case.lose_session()

    def gone() -> bool:
        gc.collect()
        return not clients

    await until(gone)


async def test_a_client_that_nobody_took_goes_on(case: Case) -> None:
    case.sio.on("a", lambda sid: case.heard("a"))
    await case.peer.send(v1.Freeze(1))
    await case.peer.frame(v1.State)
    await case.peer.send(v1.Resume(1), v1.Packet(1, b'42["a"]'))
    assert await case.next() == ["a"]
    await case.call(case.sio.emit, "x", to=case.sid)
    assert await case.packet() == b'42["x"]'


async def test_hand_over_waits_for_the_service(case: Case) -> None:
    case.peer.revision = 5
    await case.lose_session()
    calling = case.begin(case.moorage.hand_over)
    asked = await case.peer.frame(v1.HandOver)
    await case.peer.send(v1.Done(asked.ref, 3, ("c9",)))
    assert await calling == HandedOver(3, ("c9",))


async def test_an_old_service_cannot_do_it(case: Case) -> None:
    with pytest.raises(UsageError):
        await case.call(case.moorage.hand_over)


@pytest.fixture
def signals() -> Iterator[list[str]]:
    """The signals that reach the process in the end."""
    noted: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: noted.append("SIGTERM"))
    yield noted
    signal.signal(signal.SIGTERM, before)


async def test_a_sigterm_waits_for_the_hand_over(case: Case, signals: list[str]) -> None:
    case.peer.revision = 5
    await case.lose_session()
    case.moorage.hand_over_on_sigterm()
    os.kill(os.getpid(), signal.SIGTERM)
    asked = await case.peer.frame(v1.HandOver)
    assert signals == []
    await case.peer.send(v1.Done(asked.ref, 1))
    await until(lambda: signals == ["SIGTERM"])


async def test_a_hand_over_that_fails_does_not_hold_up_a_sigterm(
    case: Case, signals: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    case.moorage.hand_over_on_sigterm()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: signals == ["SIGTERM"])
    assert "not handed over" in caplog.text
