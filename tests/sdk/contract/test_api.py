"""Each call of the developer: which frame it sends, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk import AppServer, NotSerialisable, RequestFailed, UsageError
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.sdk.contract.executors import Case

# -- emits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "to", "flags"),
    [
        ({}, To("/"), 0),
        ({"to": "a"}, To("/", ("a",)), 0),
        ({"to": ["a", 2], "skip": "s"}, To("/", ("a", "2"), ("s",)), 0),
        ({"volatile": True}, To("/"), v1.VOLATILE),
        ({"local": True, "volatile": True}, To("/"), v1.LOCAL | v1.VOLATILE),
    ],
)
async def test_an_emit_is_one_frame(case: Case, how: dict[str, Any], to: To, flags: int) -> None:
    await case.call(case.moorage.emit, "news", (1, "two"), **how)
    assert await case.peer.frame(v1.Emit) == v1.Emit(0, to, flags, b'42["news",1,"two"]')


async def test_the_servers_own_emit_is_the_same(case: Case) -> None:
    await case.call(case.sio.emit, "news", {"a": None}, room="a", skip_sid="s", namespace="/chat")
    assert await case.peer.frame(v1.Emit) == v1.Emit(
        0, To("/chat", ("a",), ("s",)), 0, b'42/chat,["news",{"a":null}]'
    )


async def test_an_emit_to_an_own_socket_is_a_packet(case: Case) -> None:
    await case.call(case.sio.emit, "news", b"\x00", to=case.sid)
    assert await case.packet() == b'451-["news",{"_placeholder":true,"num":0}]\x1ebAA=='


async def test_an_emit_to_no_rooms_reaches_nobody(case: Case) -> None:
    await case.call(case.moorage.emit, "news", to=[])
    frame = await case.peer.frame(v1.Emit)
    assert len(frame.to.rooms) == 1


async def test_emits_that_cannot_be_sent(case: Case) -> None:
    with pytest.raises(NotSerialisable, match=r"args\[0\]\.x"):
        await case.call(case.moorage.emit, "news", {"x": object()})
    with pytest.raises(UsageError, match="a room must be"):
        await case.call(case.moorage.emit, "news", to=1.5)


async def test_callbacks_of_sockets_elsewhere(case: Case) -> None:
    await case.call(case.sio.emit, "ask", to="elsewhere", callback=case.heard)
    ask = await case.peer.frame(v1.Ask)
    assert (ask.to, ask.payload) == (To("/", ("elsewhere",)), b'42["ask"]')
    await case.peer.send(v1.Answer(ask.ref, "elsewhere", b"430[1,2]"), v1.Done(ask.ref, 1))
    assert await case.next() == [(1, 2)]


async def test_call_waits_for_the_ack(case: Case) -> None:
    calling = case.begin(case.sio.call, "ask", to=case.sid, timeout=10)
    ack_id = (await case.packet())[2 : -len(b'["ask"]')]
    await case.say(1, b'43%b["yes"]' % ack_id)
    assert await calling == "yes"


async def test_a_connect_handlers_emit_reaches_its_own_socket(case: Case) -> None:
    async def greet(sid: str, environ: Any, auth: Any) -> None:
        await case.sio.emit("hello", namespace="/chat")

    def greet_in_thread(sid: str, environ: Any, auth: Any) -> None:
        case.sio.emit("hello", namespace="/chat")

    case.sio.on("connect", greet_in_thread if case.executor.threads else greet, namespace="/chat")
    await case.say(1, b"40/chat,")
    frames = [await case.peer.any_frame() for _ in range(3)]
    assert frames[:2] == [
        v1.Emit(0, To("/chat"), 0, b'42/chat,["hello"]'),
        v1.Packet(1, b'42/chat,["hello"]'),
    ]


# -- rooms --------------------------------------------------------------------------------------------------


async def test_a_room_is_entered_and_left_when_the_service_says_so(case: Case) -> None:
    for call, kind in ((case.sio.enter_room, v1.Enter), (case.sio.leave_room, v1.Exit)):
        calling = case.begin(call, case.sid, 7)
        frame: Any = await case.peer.frame(kind)
        # A socket that is still connecting enters its own room first: the service does not know its id yet.
        assert (frame.client, frame.namespace, {*frame.rooms} - {case.sid}) == (1, "/", {"7"})
        assert not calling.done()
        await case.peer.send(v1.Done(frame.ref, 1))
        await calling
        assert (7 in case.sio.rooms(case.sid)) is (kind is v1.Enter)


async def test_a_refused_change_restores_the_rooms_as_they_were(case: Case) -> None:
    async def change(call: Any, kind: Any, *, refused: bool) -> None:
        calling = case.begin(call, case.sid, "a")
        ref = (await case.peer.frame(kind)).ref
        await case.peer.send(v1.Failed(ref, 4009, "no", "no") if refused else v1.Done(ref, 1))
        if refused:
            with pytest.raises(RequestFailed):
                await calling
        else:
            await calling

    await change(case.sio.enter_room, v1.Enter, refused=True)
    assert case.sio.rooms(case.sid) == [case.sid]
    await change(case.sio.enter_room, v1.Enter, refused=False)
    for call, kind in ((case.sio.enter_room, v1.Enter), (case.sio.leave_room, v1.Exit)):
        await change(call, kind, refused=True)
        assert set(case.sio.rooms(case.sid)) == {case.sid, "a"}


async def test_a_move_in_the_batch_of_the_answer_is_newer(case: Case) -> None:
    entering = case.begin(case.sio.enter_room, case.sid, "a")
    ref = (await case.peer.frame(v1.Enter)).ref
    await case.peer.send(v1.Done(ref, 1), v1.Moved(1, "/", False, ("a",)), v1.Moved(1, "/", True, ("b",)))
    await entering
    assert set(case.sio.rooms(case.sid)) == {case.sid, "b"}


async def test_rooms_of_sockets_elsewhere(case: Case) -> None:
    for call, kind in ((case.sio.enter_room, v1.Join), (case.sio.leave_room, v1.Leave)):
        calling = case.begin(call, "elsewhere", "a")
        frame: Any = await case.peer.frame(kind)
        assert (frame.to, frame.rooms) == (To("/", ("elsewhere",)), ("a",))
        await case.peer.send(v1.Done(frame.ref, 0))
        await calling


async def test_a_room_is_closed_for_all(case: Case) -> None:
    await case.peer.send(v1.Moved(1, "/", True, ("a",)))
    for refused in (True, False):
        closing = case.begin(case.sio.close_room, "a")
        frame = await case.peer.frame(v1.Leave)
        assert (frame.to, frame.rooms) == (To("/", ("a",)), ("a",))
        if refused:
            await case.peer.send(v1.Failed(frame.ref, 4009, "no", "no"))
            with pytest.raises(RequestFailed):
                await closing
        else:
            await case.peer.send(v1.Done(frame.ref, 1))
            await closing
        assert ("a" in case.sio.rooms(case.sid)) is refused


async def test_a_socket_id_is_no_room_for_others(case: Case) -> None:
    other = await case.connect(1, "/chat")
    for call in (
        lambda: case.sio.enter_room("x", case.sid),
        lambda: case.sio.close_room(other, namespace="/chat"),
    ):
        with pytest.raises(ValueError, match="sid room"):
            await case.call(call)


# -- the end of a socket ------------------------------------------------------------------------------------


async def test_an_own_socket_is_disconnected_and_its_handler_runs(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    await case.call(case.sio.disconnect, case.sid)
    assert await case.packet() == b"41"
    assert await case.next() == [(case.sid, "server disconnect")]
    assert case.sio.rooms(case.sid) == []


async def test_a_socket_elsewhere_is_disconnected_by_the_service(case: Case) -> None:
    calling = case.begin(case.sio.disconnect, "elsewhere")
    frame = await case.peer.frame(v1.Disconnect)
    assert (frame.to, frame.close) == (To("/", ("elsewhere",)), False)
    await case.peer.send(v1.Done(frame.ref, 1))
    await calling


# -- the API beyond python-socketio -------------------------------------------------------------------------


async def test_emit_with_acks_gathers_answers(case: Case) -> None:
    asking = case.begin(case.moorage.emit_with_acks, "ask", 1, to="a", timeout=2)
    ask = await case.peer.frame(v1.Ask)
    assert (ask.to, ask.timeout, ask.payload) == (To("/", ("a",)), 2000, b'42["ask",1]')
    answers = [v1.Answer(ask.ref, "s1", b"430[1]"), v1.Answer(ask.ref, "s2", b"430[1,2]")]
    await case.peer.send(v1.Asked(ask.ref, 3), *answers, v1.Done(ask.ref, 3, ("s3",)))
    acks = await asking
    assert (acks.answers, acks.missing) == ({"s1": 1, "s2": (1, 2)}, ("s3",))


async def test_fetch_sockets_adds_the_data_of_own_sockets(case: Case) -> None:
    await case.call(case.sio.save_session, case.sid, {"own": True})
    fetching = case.begin(case.moorage.fetch_sockets, "a", skip="b", timeout=2)
    fetch = await case.peer.frame(v1.Fetch)
    assert (fetch.to, fetch.timeout) == (To("/", ("a",), ("b",)), 2000)
    rows = (
        v1.Row(case.sid, "client1", "ada", 0, 0, ("a",), b"{}"),
        v1.Row("s2", "client2", None, 1, 0, ("a",), b'{"url":"/x"}'),
    )
    data = v1.Data(fetch.ref, "other", (v1.Chunk(1, b'[{"data":{"own":false}}]'),))
    await case.peer.send(
        v1.Asked(fetch.ref, 1), v1.Sockets(fetch.ref, ("me", "other"), rows), data, v1.Done(fetch.ref, 2)
    )
    own, other = await fetching
    assert (own.id, own.data, own.user_id) == (case.sid, {"own": True}, "ada")
    assert (other.data, other.server_id, other.handshake["url"]) == ({"own": False}, "other", "/x")


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("sockets_join", ("a",), v1.Join),
        ("sockets_leave", ("a",), v1.Leave),
        ("disconnect_sockets", (), v1.Disconnect),
    ],
)
async def test_selections_are_counted(case: Case, name: str, arguments: Any, kind: Any) -> None:
    calling = case.begin(getattr(case.moorage, name), *arguments, to="b", skip="c", namespace="/chat")
    frame = await case.peer.frame(kind)
    assert frame.to == To("/chat", ("b",), ("c",))
    await case.peer.send(v1.Done(frame.ref, 3))
    assert await calling == 3


async def test_server_side_events(case: Case) -> None:
    await case.call(case.moorage.server_side_emit, "news", 1, namespace="/chat")
    assert await case.peer.frame(v1.Tell) == v1.Tell(0, "/chat", 0, b'42/chat,["news",1]')
    asking = case.begin(case.moorage.server_side_emit_with_ack, "ask", timeout=1)
    tell = await case.peer.frame(v1.Tell)
    await case.peer.send(v1.Answer(tell.ref, "one", b"430[7]"), v1.Done(tell.ref, 2, ("two",)))
    acks = await asking
    assert (acks.answers, acks.missing) == ({"one": 7}, ("two",))


async def test_servers_are_listed(case: Case) -> None:
    listing = case.begin(case.moorage.servers)
    ref = (await case.peer.frame(v1.List)).ref
    await case.peer.send(v1.Servers(ref, (v1.Server("one", "azure", False, 3),)))
    assert await listing == [AppServer("one", "azure", False, 3)]


async def test_wrong_arguments_are_refused_before_anything_is_sent(case: Case) -> None:
    for call in (
        lambda: case.moorage.fetch_sockets(timeout=0),
        lambda: case.moorage.emit_with_acks("a", timeout=-1),
        lambda: case.moorage.sockets_join(1.5),
        lambda: case.moorage.on("no such event", print),
    ):
        with pytest.raises(UsageError):
            await case.call(call)
    await case.call(case.moorage.emit, "after")
    assert (await case.peer.frame(v1.Emit)).payload == b'42["after"]'


# -- the end of the link ------------------------------------------------------------------------------------


async def test_close_lets_clients_go_and_gives_the_server_its_parts_back(case: Case) -> None:
    case.sio.on("disconnect", case.heard)
    await case.call(case.moorage.close)
    assert await case.next() == [(case.sid, "transport close")]
    assert isinstance(await case.peer.frame(v1.Drain), v1.Drain)
    assert await case.peer.frame(v1.Close) == v1.Close(1)
    assert (await case.peer.close())[1] == "link-closed"
    assert type(case.sio.manager).__module__.startswith("socketio")
    await case.call(case.moorage.emit, "nobody")
    assert await case.call(case.moorage.sockets_join, "a") == 0
    await case.call(case.moorage.close)
