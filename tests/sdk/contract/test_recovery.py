"""Connection state recovery: clients that are gone and come back to their sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moorage.wire.moorage import v1
from tests.sdk.conftest import until
from tests.sdk.contract.executors import Case, Executor
from tests.sdk.service_peer import ServicePeer

RECOVERY = {"max_disconnection_duration": 60.0}
AUTH = {"pid": "P", "offset": "o", "token": "t"}


@pytest.fixture
async def case(executor: Executor, peer: ServicePeer) -> AsyncIterator[Case]:
    peer.recovery = 60_000
    sio = executor.server(namespaces=["/", "/chat"])
    made = await Case(executor, peer, sio).start(connection_state_recovery=RECOVERY)
    yield made
    await executor.call(made.moorage.close)


async def lose(case: Case, number: int = 1, cause: str = "transport close") -> None:
    await case.peer.send(v1.Closed(number, 3004, "transport-lost", cause))


async def saved(case: Case) -> tuple[str, str, Any]:
    """The next frame, which must be a `Save`."""
    frame = await case.peer.frame(v1.Save)
    return frame.namespace, frame.sid, json.loads(frame.data) if frame.data else None


async def recover(case: Case, number: int = 2, *, rooms: tuple[str, ...] = (), data: bytes = b"") -> None:
    await case.peer.send(
        v1.Recover(number, "/", f"40{json.dumps(AUTH)}".encode(), case.sid, rooms, data),
    )


async def answered(case: Case, number: int = 2) -> None:
    """The client is told that it has its socket."""
    assert await case.packet(number) == b'40{"sid":"%b"}' % case.sid.encode()


async def away(case: Case) -> None:
    """The socket's client is gone, and has come back with a new connection, number 2."""
    await lose(case)
    await saved(case)
    await case.open(2)


# -- the argument -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "asked"), [(None, (0, False)), ({"quiet": True}, (120_000, True))])
async def test_the_hello_asks_for_it(
    executor: Executor,
    peer: ServicePeer,
    given: Any,
    asked: tuple[int, bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = await Case(executor, peer, executor.server(namespaces=["/"])).start(
        connection_state_recovery=given
    )
    hello = await peer.hello()
    assert (hello.recovery, hello.quiet) == asked
    assert ("connection_state_recovery has no effect" in caplog.text) is (given is not None)
    await lose(case)
    await case.call(case.moorage.emit, "next")
    await peer.frame(v1.Emit)  # and no `Save`: the service does not recover
    await executor.call(case.moorage.close)


# -- gone ---------------------------------------------------------------------------------------------------


async def test_after_the_disconnect_handlers_the_service_gets_each_sockets_session(case: Case) -> None:
    other = await case.connect(1, "/chat")

    async def gone(sid: str, reason: str) -> None:
        async with case.sio.session(sid) as session:
            session["reason"] = reason

    def gone_too(sid: str, reason: str) -> None:
        with case.sio.session(sid) as session:
            session["reason"] = reason

    case.sio.on("disconnect", gone_too if case.executor.threads else gone)
    await case.call(case.sio.save_session, case.sid, {"name": "Zoë"})
    await lose(case)
    assert await saved(case) == ("/", case.sid, {"name": "Zoë", "reason": "transport close"})
    assert await saved(case) == ("/chat", other, None)


async def test_a_disconnect_handler_that_waits_holds_nothing_up(case: Case) -> None:
    goes_on: Any = threading.Event() if case.executor.threads else asyncio.Event()

    async def gone(sid: str, reason: str) -> None:
        await goes_on.wait()
        case.heard("gone")

    def gone_too(sid: str, reason: str) -> None:
        goes_on.wait(30)
        case.heard("gone")

    case.sio.on("disconnect", gone_too if case.executor.threads else gone)
    await lose(case)
    if case.executor.threads:
        # A handler in a thread is a whole: its session is kept when it has ended.
        await case.call(case.moorage.emit, "next")
        await case.peer.frame(v1.Emit)
        goes_on.set()
    await saved(case)
    await case.open(2)
    await recover(case, rooms=("r",))
    await answered(case)
    assert sorted(case.sio.rooms(case.sid)) == sorted([case.sid, "r"])
    goes_on.set()
    assert await case.next() == ["gone"]
    assert case.sio.manager.is_connected(case.sid, "/"), "the former socket's end is not its successor's"
    await case.say(2, b'42["a"]')
    await case.call(case.moorage.emit, "to it", to=case.sid)
    assert await case.packet(2) == b'42["to it"]'


@pytest.mark.parametrize("end", ["leaves", "is disconnected", "breaks the protocol"])
async def test_nothing_is_kept_of_a_socket_whose_end_somebody_wanted(case: Case, end: str) -> None:
    case.sio.on("disconnect", case.heard)
    if end == "leaves":
        await case.say(1, b"41")
    elif end == "is disconnected":
        await case.call(case.sio.disconnect, case.sid)
        await case.packet()
    await lose(case, cause="parse error" if end == "breaks the protocol" else "transport close")
    await case.next()
    await case.call(case.moorage.emit, "next")
    await case.peer.frame(v1.Emit)


@pytest.mark.parametrize("executor", ["threads"], indirect=True)
async def test_nothing_is_kept_of_a_socket_that_a_thread_disconnects_as_its_client_goes(case: Case) -> None:
    manager = case.sio.manager
    claim = manager.claim

    def late(member: Any) -> Any:
        manager.claim = claim
        other = threading.Thread(target=case.sio.disconnect, args=(case.sid,))
        other.start()
        other.join()
        return claim(member)

    manager.claim = late
    case.sio.on("disconnect", case.heard)
    await lose(case)
    assert await case.next() == [(case.sid, "server disconnect")]
    await until(lambda: not case.sio.eio.sockets)
    assert await case.peer.frame(v1.Disconnect) == v1.Disconnect(0, v1.To("/", (case.sid,)), False)
    await case.call(case.moorage.emit, "next")
    await case.peer.frame(v1.Emit)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_disconnect_handler_ends_the_lost_clients_other_socket_for_good(
    case: Case, waits: bool
) -> None:
    other = await case.connect(1, "/chat")

    async def gone(sid: str, reason: str) -> None:
        if waits:
            await asyncio.sleep(0.05)
        await case.sio.disconnect(other, namespace="/chat")
        case.heard("gone")

    def gone_too(sid: str, reason: str) -> None:
        case.sio.disconnect(other, namespace="/chat")
        case.heard("gone")

    case.sio.on("disconnect", gone_too if case.executor.threads else gone)
    case.sio.on("disconnect", case.heard, namespace="/chat")
    await lose(case)
    assert await case.next(2) == [(other, "server disconnect"), "gone"]
    await until(lambda: not case.sio.eio.sockets)
    await case.call(case.moorage.emit, "next")
    frames: list[Any] = []
    while not isinstance(frame := await case.peer.any_frame(), v1.Emit):
        frames.append(frame)
    # Where `/chat` was saved before the handler disconnected it, the service forgets it then.
    assert [one for one in frames if isinstance(one, v1.Disconnect)] == [
        v1.Disconnect(0, v1.To("/chat", (other,)), False)
    ]
    end = next(at for at, one in enumerate(frames) if isinstance(one, v1.Disconnect))
    assert [one.namespace for one in frames[end + 1 :] if isinstance(one, v1.Save)] in ([], ["/"])
    assert "/" in [one.namespace for one in frames if isinstance(one, v1.Save)]


async def test_values_without_a_json_form_are_left_out_and_named(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    await case.call(case.sio.save_session, case.sid, {"name": "a", "lock": threading.Lock()})
    await lose(case)
    assert await saved(case) == ("/", case.sid, {"name": "a"})
    assert f"the session of socket {case.sid} is kept without session.lock" in caplog.text


async def test_an_emit_to_a_socket_that_is_gone_goes_to_its_room(case: Case) -> None:
    await away(case)
    await case.call(case.sio.emit, "missed", 1, to=case.sid)
    frame = await case.peer.frame(v1.Emit)
    assert (frame.to.rooms, frame.payload) == ((case.sid,), b'42["missed",1]')


# -- back ---------------------------------------------------------------------------------------------------


async def test_a_client_comes_back_to_its_socket(case: Case) -> None:
    await away(case)
    case.sio.on(
        "connect",
        lambda sid, environ, auth: case.heard(
            sid, environ["moorage.recovered"], auth, sorted(case.sio.rooms(sid))
        ),
    )
    await recover(case, rooms=("s", "r"), data=b'{"name":"Zo\xc3\xab"}')
    await answered(case)
    assert await case.next() == [(case.sid, True, AUTH, sorted([case.sid, "r", "s"]))]
    assert await case.call(case.sio.get_session, case.sid) == {"name": "Zoë"}
    case.sio.on("a", case.heard)
    await case.say(2, b'42["a",1]')
    assert await case.next() == [(case.sid, 1)]
    # The connect handler is over. An emit within it goes to the socket's room, behind the missed events.
    await case.call(case.sio.emit, "live", to=case.sid)
    assert await case.packet(2) == b'42["live"]'


async def test_a_refused_claim_is_an_ordinary_connect(case: Case) -> None:
    await away(case)
    case.sio.on("connect", lambda sid, environ, auth: case.heard(sid, environ["moorage.recovered"]))
    sid = await case_connect(case)
    assert sid != case.sid
    assert await case.next() == [(sid, False)]
    assert await case.call(case.sio.get_session, sid) == {}


async def case_connect(case: Case) -> str:
    await case.say(2, f"40{json.dumps(AUTH)}".encode())
    return (await case.packet(2)).decode().split('"sid":"')[1].split('"')[0]


async def test_a_second_namespace_that_is_not_recovered(case: Case) -> None:
    await away(case)
    seen = []
    for namespace in ("/", "/chat"):
        case.sio.on(
            "connect",
            lambda sid, environ, auth: seen.append(environ["moorage.recovered"]),
            namespace=namespace,
        )
    await recover(case)
    await answered(case)
    await case.say(2, b"40/chat,")
    await case.packet(2)
    assert seen == [True, False]


async def test_its_connect_handler_may_refuse_it(case: Case) -> None:
    await away(case)
    case.sio.on("connect", lambda sid, environ, auth: False)
    await recover(case, rooms=("r",))
    assert (await case.packet(2)).startswith(b"44")
    await until(lambda: case.sio.manager.rooms == {})


async def test_emits_of_its_connect_handler_follow_the_missed_ones(case: Case) -> None:
    await away(case)
    do = case.sio

    async def back(sid: str, environ: Any, auth: Any) -> None:
        await do.emit("to it", to=sid)
        await do.emit("to all")
        await do.emit("to its room", to="r")
        await do.emit("asks", to=sid, callback=case.heard)

    def back_too(sid: str, environ: Any, auth: Any) -> None:
        do.emit("to it", to=sid)
        do.emit("to all")
        do.emit("to its room", to="r")
        do.emit("asks", to=sid, callback=case.heard)

    case.sio.on("connect", back_too if case.executor.threads else back)
    await recover(case, rooms=("r",))
    emits = [await case.peer.frame(v1.Emit) for _ in range(4)]
    assert [frame.to.rooms for frame in emits] == [(case.sid,), (), ("r",), (case.sid,)]
    await answered(case)
    assert emits[3].payload == b'421["asks"]'
    await case.say(2, b'431["yes"]')
    assert await case.next() == ["yes"]


async def test_rooms_that_change_until_its_connect_handler_runs(case: Case) -> None:
    await away(case)
    case.sio.on("connect", lambda sid, environ, auth: case.heard(sorted(set(case.sio.rooms(sid)) - {sid})))
    await case.peer.send(
        v1.Recover(2, "/", b'40{"pid":"P"}', case.sid, ("r", "s"), b""),
        v1.Moved(2, "/", False, ("r",)),
        v1.Moved(2, "/", True, ("t",)),
    )
    await answered(case)
    (rooms,) = await case.next()
    await case.call(case.moorage.emit, "next")
    await case.peer.frame(v1.Emit)
    assert {"s", "t"} <= set(case.sio.rooms(case.sid))
    assert "r" not in case.sio.rooms(case.sid)
    assert set(rooms) <= {"r", "s", "t"}


async def test_a_room_that_its_connect_handler_enters_is_one_frame(case: Case) -> None:
    await away(case)

    async def back(sid: str, environ: Any, auth: Any) -> None:
        await case.sio.enter_room(sid, "t")

    case.sio.on(
        "connect",
        (lambda sid, environ, auth: case.sio.enter_room(sid, "t")) if case.executor.threads else back,
    )
    await recover(case, rooms=("r",))
    frame = await case.peer.frame(v1.Enter)
    assert (frame.client, frame.rooms) == (2, ("t",))
    await case.peer.send(v1.Done(frame.ref, 1))
    await answered(case)
    assert set(case.sio.rooms(case.sid)) == {case.sid, "r", "t"}


async def test_a_session_that_is_no_json(case: Case) -> None:
    await away(case)
    await recover(case, data=b"{")
    await answered(case)
    assert await case.call(case.sio.get_session, case.sid) == {}


async def test_a_return_of_nobody(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    await recover(case, 9)
    await case.peer.send(v1.Parked(9, "x"), v1.Back(9, "/", case.sid, 1), v1.Back(1, "/", case.sid, 9))
    await case.open(2)
    await case.peer.send(v1.Back(2, "/", "other", 1), v1.Back(2, "/chat", case.sid, 1))
    await case.call(case.sio.emit, "still there", to=case.sid)
    assert await case.packet() == b'42["still there"]'
    assert "could not be handled" not in caplog.text


# -- quiet --------------------------------------------------------------------------------------------------


async def test_quiet_the_socket_lives_on_with_the_new_client(case: Case) -> None:
    for name in ("connect", "disconnect"):
        case.sio.on(name, lambda *args: case.heard("a handler"))
    await case.call(case.sio.save_session, case.sid, {"name": "a"})
    await case.peer.send(v1.Moved(1, "/", True, ("r",)), v1.Parked(1, "transport close"))
    await case.call(case.sio.emit, "missed", to=case.sid, callback=case.heard)
    assert await case.packet(1) == b'421["missed"]'
    await case.open(2)
    case.sio.on("a", case.heard)
    await case.peer.send(
        v1.Back(2, "/", case.sid, 1), v1.Packet(2, b'431["yes"]'), v1.Closed(1, 3004, "transport-lost", "x")
    )
    assert await case.next() == ["yes"]
    await case.say(2, b'42["a",1]')
    assert await case.next() == [(case.sid, 1)]
    await case.call(case.sio.emit, "live", to=case.sid)
    assert await case.packet(2) == b'42["live"]'
    assert await case.call(case.sio.get_session, case.sid) == {"name": "a"}
    assert set(case.sio.rooms(case.sid)) == {case.sid, "r"}
    assert list(case.sio.manager.get_participants("/", "r")) == [(case.sid, "client2")]
    assert case.sio.get_environ(case.sid)["moorage.connection_id"] == "client2"
    await lose(case, 2)
    assert await case.next() == ["a handler"]


async def test_quiet_the_session_of_flask_lives_on(case: Case) -> None:
    session = case.sio.get_environ(case.sid)["saved_session"] = {"user": "Ada"}
    await case.peer.send(v1.Parked(1, "transport close"))
    await case.open(2)
    case.sio.on("a", case.heard)
    await case.peer.send(v1.Back(2, "/", case.sid, 1), v1.Packet(2, b'42["a",1]'))
    assert await case.next() == [(case.sid, 1)]
    assert case.sio.get_environ(case.sid)["saved_session"] is session


async def test_quiet_a_socket_that_does_not_come_back_ends_with_its_client(case: Case) -> None:
    other = await case.connect(1, "/chat")
    for namespace in ("/", "/chat"):
        case.sio.on("disconnect", case.heard, namespace=namespace)
    await case.peer.send(v1.Parked(1, "ping timeout"))
    await case.open(2)
    await case.peer.send(v1.Back(2, "/", case.sid, 1))
    await lose(case, cause="ping timeout")
    assert await case.next() == [(other, "ping timeout")]
    await case.say(2, b"41")
    assert await case.next() == [(case.sid, "client disconnect")]
    await until(lambda: case.sio.manager.rooms == {})


async def test_quiet_later_packets_wait_for_the_handlers_of_earlier_ones(
    executor: Executor, peer: ServicePeer
) -> None:
    peer.recovery = 60_000
    sio = executor.server(namespaces=["/"], async_handlers=False)
    case = await Case(executor, peer, sio).start(connection_state_recovery={"quiet": True})
    goes_on: Any = threading.Event() if executor.threads else asyncio.Event()

    async def handler(sid: str, number: int) -> None:
        if number == 1:
            await goes_on.wait()
        case.heard(number)

    def handler_too(sid: str, number: int) -> None:
        if number == 1:
            goes_on.wait(30)
        case.heard(number)

    sio.on("a", handler_too if executor.threads else handler)
    await peer.send(v1.Packet(1, b'42["a",1]'), v1.Packet(1, b'42["a",2]'), v1.Parked(1, "transport close"))
    await case.open(2)
    await peer.send(v1.Back(2, "/", case.sid, 1), v1.Packet(2, b'42["a",3]'))
    await lose(case)
    await case.call(case.moorage.emit, "next")
    await peer.frame(v1.Emit)
    goes_on.set()
    assert await case.next(3) == [1, 2, 3]
    assert sio.manager.is_connected(case.sid, "/")
    await executor.call(case.moorage.close)
