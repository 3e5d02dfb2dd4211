"""Each frame of the service: what the developer sees, and what is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorage.sdk import RequestFailed
from moorage.wire.moorage import v1
from tests.sdk.conftest import until
from tests.sdk.contract.executors import Case

HANDSHAKE = b'{"url":"/x?EIO=4&transport=polling&a=1","headers":{"host":["there:81"]},"address":"10.0.0.9"}'


# -- clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"ping_interval": 7, "ping_timeout": 3, "max_http_buffer_size": 5000}])
async def test_open_is_accepted_with_the_servers_settings(case: Case) -> None:
    assert await case.open(2) == v1.Opened(2, 7000, 3000, 5000)


async def test_open_carries_the_handshake_to_the_connect_handler(case: Case) -> None:
    case.sio.on("connect", lambda sid, environ, auth: case.heard(environ, auth))
    await case.open(2, HANDSHAKE)
    await case.say(2, b'40{"token":"x"}')
    ((environ, auth),) = await case.next()
    assert auth == {"token": "x"}
    assert environ["moorage.user_id"] == "ada"
    assert environ["moorage.connection_id"] == "client2"
    assert (environ["REMOTE_ADDR"], environ["SERVER_PORT"]) == ("10.0.0.9", "81")
    assert environ["wsgi.multithread"] is case.executor.threads


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("ping timeout", "ping timeout"),
        ("transport close", "transport close"),
        ("server shutting down", "transport close"),
        ("forced server close", "server disconnect"),
        ("what a later service says", "transport error"),
    ],
)
async def test_closed_runs_the_disconnect_handler_with_its_cause(case: Case, cause: str, reason: str) -> None:
    case.sio.on("disconnect", case.heard)
    await case.peer.send(v1.Closed(1, 1100, "x", cause))
    assert await case.next() == [(case.sid, reason)]
    await until(lambda: case.sio.manager.rooms == {})


async def test_closed_comes_after_the_packets_before_it(case: Case) -> None:
    case.sio.on("disconnect", lambda sid, reason: case.heard("disconnect"))
    case.sio.on("a", lambda sid: case.heard("event"))
    await case.peer.send(v1.Packet(1, b'42["a"]'), v1.Closed(1, 1100, "x", "transport close"))
    assert sorted(await case.next(2)) == ["disconnect", "event"]


async def test_left_ends_one_socket(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    other = await case.connect(1, "/chat")
    await case.peer.send(v1.Left(1, "/"))
    assert await case.next() == [(case.sid, "server disconnect")]
    assert case.sio.manager.is_connected(other, "/chat")


async def test_upgraded_changes_the_transport(case: Case) -> None:
    assert case.sio.transport(case.sid) == "polling"
    case.sio.on("a", lambda sid: case.heard(case.sio.transport(sid)))
    await case.peer.send(v1.Upgraded(1, "websocket"), v1.Packet(1, b'42["a"]'))
    assert await case.next() == ["websocket"]


async def test_moved_changes_the_rooms(case: Case) -> None:
    case.sio.on("a", lambda sid: case.heard(sorted(set(case.sio.rooms(sid)) - {sid})))
    await case.peer.send(v1.Moved(1, "/", True, ("x", "y")), v1.Packet(1, b'42["a"]'))
    assert await case.next() == [["x", "y"]]
    await case.peer.send(v1.Moved(1, "/", False, ("x",)), v1.Packet(1, b'42["a"]'))
    assert await case.next() == [["y"]]


@pytest.mark.parametrize(
    "frame",
    [
        v1.Packet(9, b'42["a"]'),
        v1.Closed(9, 1, "x", "x"),
        v1.Left(9, "/"),
        v1.Left(1, "/chat"),
        v1.Moved(9, "/", True, ("x",)),
        v1.Upgraded(9, "websocket"),
    ],
)
async def test_frames_about_nobody_change_nothing(
    case: Case, frame: v1.FromService, caplog: pytest.LogCaptureFixture
) -> None:
    case.sio.on("a", case.heard)
    await case.peer.send(frame, v1.Packet(1, b'42["a",1]'))
    assert await case.next() == [(case.sid, 1)]
    assert "could not be handled" not in caplog.text


# -- packets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "answer"),
    [(None, b"4317[]"), (1, b"4317[1]"), ((1, [2]), b"4317[1,[2]]"), ([1], b"4317[[1]]")],
)
async def test_an_event_is_acknowledged_with_what_its_handler_returns(
    case: Case, returned: Any, answer: bytes
) -> None:
    case.sio.on("ask", lambda sid, *args: returned)
    await case.say(1, b'4217["ask",1]')
    assert await case.packet() == answer


async def test_binary_goes_both_ways(case: Case) -> None:
    case.sio.on("ask", lambda sid, data: data + b"!")
    await case.say(1, b'451-5["ask",{"_placeholder":true,"num":0}]')
    await case.say(1, b"bAAE=")
    assert await case.packet() == b'461-5[{"_placeholder":true,"num":0}]\x1ebAAEh'


async def test_a_handler_that_raises_leaves_the_client_connected(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.sio.on("ask", lambda sid: 1 / 0)
    case.sio.on("next", lambda sid: "fine")
    await case.say(1, b'421["ask"]')
    await case.say(1, b'422["next"]')
    assert await case.packet() == b'432["fine"]'
    await until(lambda: "ZeroDivisionError" in caplog.text)


@pytest.mark.parametrize("options", [{"async_handlers": False}])
async def test_without_async_handlers_events_are_handled_one_after_another(case: Case) -> None:
    case.sio.on("a", lambda sid, number: case.heard(number))
    await case.peer.send(*[v1.Packet(1, b'42["a",%d]' % number) for number in range(50)])
    assert await case.next(50) == list(range(50))


@pytest.mark.parametrize(
    "payload",
    [
        b'42["connect"]',
        b'42["*"]',
        b"42{}",
        b"42[",
        b"43{",
        b"49",
        b"bAA==",
        b'451-["a"]\x1e42["b"]',
        b"44{}",
    ],
)
async def test_a_client_that_breaks_the_protocol_is_closed(case: Case, payload: bytes) -> None:
    await case.say(1, payload)
    assert await case.peer.frame(v1.Close) == v1.Close(1)


async def test_a_disconnect_packet_ends_one_socket(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    await case.say(1, b"41")
    assert await case.next() == [(case.sid, "client disconnect")]


async def test_an_event_behind_a_disconnect_is_dropped(case: Case) -> None:
    case.sio.on("a", case.heard)
    await case.connect(1, "/chat")
    case.sio.on("a", lambda sid: case.heard("chat"), namespace="/chat")
    await case.say(1, b'41\x1e42["a"]\x1e42/chat,["a"]')
    assert await case.next() == ["chat"]


async def test_an_ack_calls_the_callback_once(case: Case) -> None:
    await case.call(case.sio.emit, "ask", to=case.sid, callback=case.heard)
    payload = await case.packet()
    ack_id = payload[2 : -len(b'["ask"]')]
    await case.peer.send(v1.Packet(1, b"43%b[1]" % ack_id), v1.Packet(1, b"43%b[2]" % ack_id))
    await case.call(case.sio.emit, "ask", to=case.sid, callback=case.heard)
    ack_id = (await case.packet())[2 : -len(b'["ask"]')]
    await case.say(1, b"43%b[3,4]" % ack_id)
    assert await case.next(2) == [1, (3, 4)]


# -- connect ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (lambda sid, environ, auth: False, b'44/chat,{"message":"Connection rejected by server"}'),
        (lambda sid, environ, auth: 1 / 0, b'44/chat,{"message":"Unable to connect"}'),
    ],
)
async def test_a_connect_handler_refuses(case: Case, handler: Any, answer: bytes) -> None:
    case.sio.on("connect", handler, namespace="/chat")
    await case.say(1, b"40/chat,")
    assert await case.packet() == answer
    # python-socketio forgets the socket after it has sent the answer; the thread may still be at it.
    await until(lambda: "/chat" not in case.sio.manager.rooms)


@pytest.mark.parametrize("options", [{"always_connect": True}])
async def test_with_always_connect_a_connect_handler_that_fails_disconnects(case: Case) -> None:
    case.sio.on("connect", lambda sid, environ, auth: 1 / 0, namespace="/chat")
    await case.connect(1, "/chat")
    assert await case.packet() == b"41/chat,"


async def test_an_unknown_namespace_is_refused(case: Case) -> None:
    await case.say(1, b"40/other,")
    assert (await case.packet()).startswith(b"44/other,")


# -- other app servers and the service ----------------------------------------------------------------------


async def test_a_query_is_answered_with_sessions_and_auth(case: Case) -> None:
    await case.call(case.sio.save_session, case.sid, {"name": "Ada"})
    sid = await case.connect(1, "/chat", '{"t":1}')
    await case.peer.send(v1.Query(8, "/", (case.sid, "gone")), v1.Query(9, "/chat", (sid,)))
    assert await case.peer.frame(v1.Facts) == v1.Facts(8, (v1.Chunk(2, b'[{"data":{"name":"Ada"}},{}]'),))
    assert await case.peer.frame(v1.Facts) == v1.Facts(9, (v1.Chunk(1, b'[{"auth":{"t":1}}]'),))


@pytest.mark.parametrize(("returned", "payload"), [(None, b"430[]"), (1, b"430[1]"), ((1, 2), b"430[1,2]")])
async def test_told_is_answered_with_what_the_handler_returns(
    case: Case, returned: Any, payload: bytes
) -> None:
    case.moorage.on_server_event("ask")(lambda *args: returned)
    await case.peer.send(v1.Told(6, "other", "/", b'42["ask",1]'))
    assert await case.peer.frame(v1.Reply) == v1.Reply(6, payload)


async def test_told_without_a_reference_is_not_answered(case: Case) -> None:
    case.moorage.on_server_event("news")(case.heard)
    await case.peer.send(v1.Told(0, "other", "/", b'42["news",1,2]'))
    assert await case.next() == [(1, 2)]
    await case.peer.send(v1.Told(7, "other", "/shop", b'42/shop,["ask"]'))
    assert await case.peer.frame(v1.Reply) == v1.Reply(7, b""), "no handler in that namespace"


async def test_the_link_reports_failures_and_a_shutdown(case: Case) -> None:
    case.moorage.on("error", case.heard)
    case.moorage.on("draining", case.heard)
    await case.peer.send(v1.Failed(0, 4009, "link-bad-request", "no"))
    (error,) = await case.next()
    assert isinstance(error, RequestFailed)
    assert (error.number, error.reason) == (4009, "link-bad-request")
    await case.peer.send(v1.Drain(7.5))
    assert await case.next() == [7.5]


# -- the end of a session -----------------------------------------------------------------------------------


async def test_a_lost_session_ends_all_sockets_and_tells_why(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    case.moorage.on("session_lost", lambda why: case.heard("lost"))
    await case.lose_session()
    assert sorted(await case.next(2), key=str) == [(case.sid, "transport close"), "lost"]
    await until(lambda: case.sio.manager.rooms == {})


async def test_a_reply_for_a_lost_session_does_not_enter_the_next(case: Case) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait() -> str:
        case.heard("begun")
        await gate.wait()
        return "late"

    def wait_in_thread() -> str:
        return asyncio.run_coroutine_threadsafe(wait(), loop).result(10)

    case.moorage.on_server_event("ask")(wait_in_thread if case.executor.threads else wait)
    await case.peer.send(v1.Told(1, "other", "/", b'42["ask"]'))
    await case.next()
    await case.lose_session()
    gate.set()
    case.moorage.on_server_event("next")(lambda: "new")
    await case.peer.send(v1.Told(1, "other", "/", b'42["next"]'))
    assert await case.peer.frame(v1.Reply) == v1.Reply(1, b'430["new"]')


async def test_packets_for_a_client_of_a_lost_session_are_dropped(case: Case) -> None:
    """The new client has the number of the old one."""
    old = case.sid
    await case.lose_session()
    await case.open(1)
    case.sid = await case.connect(1)
    await case.call(case.sio.emit, "old", to=old)
    await case.call(case.sio.emit, "new", to=case.sid)
    frames = [await case.peer.any_frame() for _ in range(2)]
    assert frames == [v1.Emit(0, v1.To("/", (old,)), 0, b'42["old"]'), v1.Packet(1, b'42["new"]')]
