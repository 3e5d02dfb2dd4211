"""Emits and rooms of a `socketio.AsyncServer` on Moorage, as stock clients see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio

from moorage.sdk import Moorage, NotSerialisable, QueueFull, TooLarge, UsageError
from moorage.wire.moorage.v1 import Emit, To
from tests.sdk.conftest import Client, Heard, World, until


@pytest.fixture
async def moorage(world: World) -> Moorage:
    """An app server that takes everybody."""
    made = await world.app(socketio.AsyncServer(async_mode="asgi", namespaces=["/", "/chat"]))
    made.sio.on("echo", lambda sid, *data: data)
    return made


async def three(world: World) -> list[Client]:
    """Three clients."""
    return [await world.client() for _ in range(3)]


async def test_rooms_and_skips_select_the_recipients(world: World, moorage: Moorage) -> None:
    sio = moorage.sio
    one, two, three_ = await three(world)
    a, b = one.get_sid(), two.get_sid()
    await sio.enter_room(a, "left")
    await sio.enter_room(b, "left")
    await sio.enter_room(b, "right")
    await sio.emit("all")
    await sio.emit("to one", 1, to=a)
    await sio.emit("room", 2, room="left")
    await sio.emit("rooms", 3, to=["left", "right"])
    await sio.emit("but one", 4, skip_sid=a)
    await sio.emit("but two", 5, skip_sid=[a, b])
    await sio.emit("room but one", 6, room="left", skip_sid=a)
    await sio.emit("nobody", 7, room="empty")
    await sio.send("hello")
    await sio.emit("last")
    sent, last = ("message", "hello"), ("last",)
    assert await one.heard.some(6) == [("all",), ("to one", 1), ("room", 2), ("rooms", 3), sent, last]
    assert await two.heard.some(4) == [("all",), ("room", 2), ("rooms", 3), ("but one", 4)]
    assert await two.heard.some(3) == [("room but one", 6), sent, last]
    assert await three_.heard.some(5) == [("all",), ("but one", 4), ("but two", 5), sent, last]


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_values_of_all_kinds_arrive_unchanged(
    world: World, moorage: Moorage, transports: list[str]
) -> None:
    client = await world.client(transports=transports)
    values: list[Any] = [
        None,
        "é€😀",
        {"a": [1, 2.5, True, None], "b": b"\x00\xff"},
        b"",
        [b"x", {"y": b"z" * 5000}],
        2**60,
    ]
    for value in values:
        await moorage.sio.emit("value", (value,))
        assert await client.heard.next() == ("value", value)
        assert await client.call("echo", value, timeout=10) == value
    await moorage.sio.emit("several", (1, b"2", "3"))
    assert await client.heard.next() == ("several", 1, b"2", "3")


async def test_namespaces_are_apart(world: World, moorage: Moorage) -> None:
    client = await world.client("/", "/chat")
    await moorage.sio.emit("x", 1, namespace="/chat", to=client.get_sid("/"))
    await moorage.sio.emit("x", 2, namespace="/chat")
    assert await client.heard.next() == ("x", 2)
    assert moorage.sio.rooms(client.get_sid("/chat"), namespace="/chat") == [client.get_sid("/chat")]


async def test_the_order_of_every_mix_of_emits(world: World, moorage: Moorage) -> None:
    client = await world.client()
    sid, sio = client.get_sid(), moorage.sio
    await sio.enter_room(sid, "room")
    for number in range(0, 300, 5):
        await sio.emit("n", number, to=sid)
        await sio.emit("n", number + 1)
        await sio.emit("n", number + 2, room="room")
        await sio.emit("n", (number + 3, b"x"))
        await sio.emit("n", number + 4, to=sid, callback=lambda *_: None)
    assert [heard[1] for heard in await client.heard.some(300)] == list(range(300))


async def test_callbacks_and_calls_get_the_ack(world: World, moorage: Moorage) -> None:
    heard = Heard()

    async def later(*arguments: Any) -> None:
        await asyncio.sleep(0)
        heard("later", *arguments)

    client = await world.client(on={"ask": lambda value: ("yes", value), "nothing": lambda: None})
    sid, sio = client.get_sid(), moorage.sio
    await sio.emit("ask", 1, to=sid, callback=lambda *arguments: heard("now", *arguments))
    await sio.emit("ask", b"2", to=sid, callback=later)
    assert await heard.some(2) == [("now", "yes", 1), ("later", "yes", b"2")]
    assert await sio.call("ask", 3, to=sid) == ("yes", 3)
    assert await sio.call("nothing", to=sid) is None
    await sio.enter_room(sid, "room")
    await sio.emit("ask", 4, room="room", callback=lambda *arguments: heard("room", *arguments))
    assert await heard.next() == ("room", "yes", 4)
    assert sio.manager.members.by_id[sid].waiting == {}


async def test_a_call_without_an_answer_times_out(world: World, moorage: Moorage) -> None:
    client = await world.raw()
    await client.send("40")
    sid = (await client.text()).split('"')[3]
    with pytest.raises(socketio.exceptions.TimeoutError):
        await moorage.sio.call("ask", to=sid, timeout=0.1)
    assert await client.text() == '421["ask"]'
    await client.send('43999["made up"]')
    await client.send('431["late"]')
    await client.send('420["echo"]')
    assert await client.text() == "430[]", "and it is still connected"


async def test_a_callback_that_raises_is_logged(
    world: World, moorage: Moorage, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(*_: Any) -> None:
        raise ValueError("async")

    def now(*_: Any) -> None:
        raise ValueError("sync")

    client = await world.client(on={"ask": lambda: 1})
    for callback in (now, later):
        await moorage.sio.emit("ask", to=client.get_sid(), callback=callback)
        assert await moorage.sio.call("ask", to=client.get_sid()) == 1
    assert caplog.text.count("the callback of an emit failed") == 2


async def test_values_that_cannot_be_sent_raise_at_the_emit(world: World, moorage: Moorage) -> None:
    client = await world.client()
    sid = client.get_sid()
    for options in ({}, {"to": sid}, {"to": sid, "callback": print}, {"room": "r", "callback": print}):
        with pytest.raises(NotSerialisable, match=r"args\[0\]\.user\.born: object is not JSON serialisable"):
            await moorage.sio.emit("x", {"user": {"born": object()}}, **options)
    with pytest.raises(NotSerialisable, match=r"args\[1\]"):
        await moorage.sio.emit("x", (1, object()))
    with pytest.raises(TooLarge):
        await moorage.sio.emit("x", "y" * (17 << 20))
    with pytest.raises(UsageError, match="must be a str or an int"):
        await moorage.sio.emit("x", to=b"room")
    assert moorage.sio.manager.members.by_id[sid].waiting == {}
    await moorage.sio.emit("fine")
    assert await client.heard.next() == ("fine",)


async def test_rooms_are_entered_left_and_closed(world: World, moorage: Moorage) -> None:
    sio = moorage.sio
    one, two, _ = await three(world)
    a, b = one.get_sid(), two.get_sid()
    await sio.enter_room(a, "x")
    await sio.enter_room(a, 42)
    await sio.enter_room(b, 42)
    assert set(sio.rooms(a)) == {a, "x", 42}
    assert dict(sio.manager.get_participants("/", 42)).keys() == {a, b}
    assert sio.manager.rooms["/"]["x"].keys() == {a}
    await sio.leave_room(a, "x")
    await sio.leave_room(a, "never entered")
    await sio.emit("gone", room="x")
    await sio.emit("number", room=42)
    assert await one.heard.next() == ("number",)
    await sio.close_room(42)
    assert sio.rooms(a) == [a]
    await sio.emit("closed", room=42)
    await sio.emit("last")
    assert await one.heard.next() == ("last",)
    assert await two.heard.some(2) == [("number",), ("last",)]


async def test_wrong_rooms_are_refused(world: World, moorage: Moorage) -> None:
    sio = moorage.sio
    one, two, _ = await three(world)
    a, b = one.get_sid(), two.get_sid()
    with pytest.raises(ValueError, match="cannot enter a sid room"):
        await sio.enter_room(a, b)
    with pytest.raises(ValueError, match="cannot close a sid room"):
        await sio.close_room(a)
    assert sio.rooms("nobody") == []


@pytest.mark.repair(19)
async def test_rooms_of_a_socket_that_has_gone(world: World, moorage: Moorage) -> None:
    """As with the library's Redis manager, which cannot know it either."""
    sio = moorage.sio
    one, two, _ = await three(world)
    for gone in ("nobody", None):
        await sio.enter_room(gone, "x")
        await sio.leave_room(gone, "x")
    await sio.enter_room(one.get_sid(), "x", namespace="/chat")
    await sio.enter_room(two.get_sid(), "x")
    await sio.emit("in x", room="x")
    await sio.emit("last")
    assert await two.heard.some(2) == [("in x",), ("last",)]
    assert await one.heard.next() == ("last",)


async def test_a_room_beyond_the_services_limit_is_refused(world: World, moorage: Moorage) -> None:
    """What the service refuses is taken back here."""
    client = await world.client()
    sid, sio = client.get_sid(), moorage.sio
    with pytest.raises(Exception, match=r"\d+ [a-z-]+: "):
        await sio.enter_room(sid, "x" * 5000)
    assert sio.rooms(sid) == [sid]


@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_a_change_that_cannot_be_queued(world: World, where: str) -> None:
    """What the service never hears of has not happened here."""
    moorage = await world.app(max_queue_bytes=1000)
    sid, sio = (await world.client()).get_sid(), moorage.sio
    if where == "inside":
        await sio.enter_room(sid, "room")
    rooms = set(sio.rooms(sid))
    for change in (sio.leave_room(sid, "room"), sio.enter_room(sid, "room"), sio.close_room("room")):
        await asyncio.sleep(0)  # whatever waits leaves
        waiting = asyncio.ensure_future(change)
        moorage.link.send(Emit(0, To("/chat"), 0, b'42["%b"]' % (b"x" * 970)))
        with pytest.raises(QueueFull):
            await waiting
        assert set(sio.rooms(sid)) == rooms
        await until(lambda: not moorage.link.session.waiting)


@pytest.mark.parametrize("nonsense", [None, "", 7, object()])
async def test_ids_of_no_socket_do_nothing(world: World, moorage: Moorage, nonsense: Any) -> None:
    """Nobody has them, and nobody else is the worse for it."""
    client = await world.client()
    await moorage.sio.disconnect(nonsense)
    await moorage.sio.enter_room(nonsense, "room")
    await moorage.sio.leave_room(nonsense, "room")
    await moorage.sio.emit("nobody is in it", room="room")
    await moorage.sio.emit("fine", skip_sid="")
    assert await client.heard.next() == ("fine",)


async def test_disconnected_by_one_whose_handler_fails(world: World, moorage: Moorage) -> None:
    """It is gone all the same, and may come again."""
    sio = moorage.sio

    def disconnect(sid: str, reason: str) -> None:
        raise ZeroDivisionError

    sio.on("disconnect", disconnect)
    client = await world.raw()
    for _ in range(2):
        await client.send("40")
        sid = (await client.text()).split('"')[3]
        with pytest.raises(ZeroDivisionError):
            await sio.disconnect(sid)
        assert await client.text() == "41"
        assert sio.manager.rooms == {}
    await client.send("40")
    sid = (await client.text()).split('"')[3]
    with pytest.raises(ZeroDivisionError):
        await sio.disconnect(sid, ignore_queue=True)
    await client.http.close()
    await until(lambda: not sio.manager.rooms)


async def test_sockets_of_another_app_server(world: World, moorage: Moorage) -> None:
    """What python-socketio does with a message queue works without one."""
    client = await world.client(on={"ask": lambda value: value + 1})
    other = await world.app()
    sid, sio = client.get_sid(), other.sio
    assert moorage.sio.rooms(sid) == [sid]
    await sio.enter_room(sid, "room")
    await until(lambda: set(moorage.sio.rooms(sid)) == {sid, "room"})
    await sio.emit("x", 1, room="room")
    await sio.emit("x", 2, to=sid)
    assert await client.heard.some(2) == [("x", 1), ("x", 2)]
    assert await sio.call("ask", 1, to=sid) == 2
    await sio.leave_room(sid, "room")
    await until(lambda: bool(moorage.sio.rooms(sid) == [sid]))
    gone = Heard()
    moorage.sio.on("disconnect", gone)
    await sio.disconnect(sid)
    assert await gone.next() == (sid, "server disconnect")
    assert (await client.heard.next())[0] == "disconnect"
