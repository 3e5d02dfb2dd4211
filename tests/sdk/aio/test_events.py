"""Handlers of events: all the forms that python-socketio knows, their answers, failures and number."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import functools
from typing import Any

import pytest
import socketio

from moorage.sdk import Moorage
from moorage.sdk.aio.events import Events, Waits
from moorage.sdk.clients.members import Member
from moorage.wire.moorage import v1
from tests.sdk.clients.test_members import Client
from tests.sdk.conftest import Heard, World, until
from tests.sdk.linked import serving, sid_of_client
from tests.sdk.service_peer import ServicePeer

current: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="nothing")


def server(**options: Any) -> Any:
    """A server."""
    return socketio.AsyncServer(async_mode="asgi", **options)


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_forms_of_handlers(world: World, async_handlers: bool) -> None:
    """Functions, coroutine functions, partials, objects, catch-alls, and what each answers."""
    sio = server(async_handlers=async_handlers, namespaces=["/", "/other"])

    async def coroutine(sid: str, *data: Any) -> Any:
        await asyncio.sleep(0)
        return ("coroutine", *data)

    class Callable:
        def __call__(self, sid: str, *data: Any) -> Any:
            return ["object", *data]

    sio.on("coroutine", coroutine)
    sio.on("function", lambda sid, *data: ("function", *data))
    sio.on("partial", functools.partial(lambda first, sid: {"first": first}, 1))
    sio.on("object", Callable())
    sio.on("none", lambda sid: None)
    sio.on("empty", lambda sid: ())
    sio.on("*", lambda event, sid, *data: ["any", event, *data])
    sio.on("named", lambda namespace, sid: ["everywhere", namespace], namespace="*")
    sio.on("*", lambda event, namespace, sid: ["all", event, namespace], namespace="*")
    await world.app(sio)
    client = await world.client("/", "/other")
    for event, data, answer in (
        ("coroutine", 1, ("coroutine", 1)),
        ("coroutine", (1, b"2"), ("coroutine", 1, b"2")),
        ("function", {"a": 1}, ("function", {"a": 1})),
        ("partial", None, {"first": 1}),
        ("object", "x", ["object", "x"]),
        ("none", None, None),
        ("empty", None, None),
        ("unknown", [1], ["any", "unknown", [1]]),
    ):
        assert await client.call(event, data, timeout=10) == answer, event
    assert await client.call("named", namespace="/other", timeout=10) == ["everywhere", "/other"]
    assert await client.call("else", namespace="/other", timeout=10) == ["all", "else", "/other"]


async def test_classes(world: World) -> None:
    class Chat(socketio.AsyncNamespace):  # type: ignore[misc]
        def on_connect(self, sid: str, environ: Any) -> None:
            """The old form without `auth`."""

        async def on_hello(self, sid: str, name: str) -> str:
            await self.emit("welcome", name, to=sid)
            return f"hello {name}"

        def on_plain(self, sid: str) -> int:
            return 7

    sio = server()
    sio.register_namespace(Chat("/chat"))
    await world.app(sio)
    client = await world.client("/chat")
    assert await client.call("hello", "ann", namespace="/chat", timeout=10) == "hello ann"
    assert await client.heard.next() == ("welcome", "ann")
    assert await client.call("plain", namespace="/chat", timeout=10) == 7
    assert await client.call("unknown", namespace="/chat", timeout=10) is None


async def test_nobody_handles_it(world: World) -> None:
    """No answer, as with the library: the client waits in vain."""
    await world.app(server())
    client = await world.client()
    with pytest.raises(socketio.exceptions.TimeoutError):
        await client.call("unknown", timeout=0.2)


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_handlers_that_throw(world: World, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    sio = server()

    async def coroutine(sid: str) -> None:
        raise ZeroDivisionError("in a coroutine")

    def function(sid: str) -> None:
        raise ZeroDivisionError("in a function")

    sio.on("coroutine", coroutine)
    sio.on("function", function)
    sio.on("arguments", function)
    sio.on("fine", lambda sid: "yes")
    await world.app(sio)
    client = await world.client()
    await client.emit(kind)
    await client.emit(kind, "one argument too many")
    assert await client.call("fine", timeout=10) == "yes"
    await until(lambda: f"in a {kind}" in caplog.text)
    assert "takes 1 positional argument" in caplog.text
    assert f"{kind} failed" in caplog.text


async def test_an_answer_that_cannot_be_sent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sio = server()
    sio.on("when", lambda sid: {"at": datetime.date(2020, 1, 1)})
    sio.on("fine", lambda sid: "yes")
    await world.app(sio)
    client = await world.client()
    with pytest.raises(socketio.exceptions.TimeoutError):
        await client.call("when", timeout=0.2)
    assert await client.call("fine", timeout=10) == "yes"
    assert "cannot be sent: args[0].at: date is not JSON serialisable" in caplog.text


async def test_the_order_in_which_handlers_start(world: World) -> None:
    sio, heard = server(), Heard()

    async def number(sid: str, value: int) -> None:
        heard(value)
        await asyncio.sleep(0)

    sio.on("number", number)
    await world.app(sio)
    client = await world.client()
    for value in range(200):
        await client.emit("number", value)
    assert await heard.some(200) == [(value,) for value in range(200)]


async def test_each_handler_has_a_context_of_its_own(world: World) -> None:
    sio = server()

    def function(sid: str, value: str) -> str:
        before = current.get()
        current.set(value)
        return before

    async def coroutine(sid: str, value: str) -> str:
        before = current.get()
        current.set(value)
        async with asyncio.timeout(5):  # needs a task to run in
            await asyncio.sleep(0)
        return before

    sio.on("function", function)
    sio.on("coroutine", coroutine)
    await world.app(sio)
    client = await world.client()
    for _ in range(3):
        assert await client.call("function", "dirty", timeout=10) == "nothing"
        assert await client.call("coroutine", "dirty", timeout=10) == "nothing"


async def test_one_after_another_without_async_handlers(world: World) -> None:
    """For each client; other clients do not wait."""
    sio, heard, gate = server(async_handlers=False), Heard(), asyncio.Event()

    async def slow(sid: str, value: int) -> None:
        heard("begin", value)
        await gate.wait()
        heard("end", value)

    sio.on("slow", slow)
    sio.on("fast", lambda sid, value: heard("fast", value))
    await world.app(sio)
    one, two = await world.client(), await world.client()
    await one.emit("slow", 1)
    await one.emit("fast", 2)
    await one.emit("slow", 3)
    assert await heard.next() == ("begin", 1)
    await two.emit("fast", 4)
    assert await heard.next() == ("fast", 4)
    gate.set()
    assert await heard.some(4) == [("end", 1), ("fast", 2), ("begin", 3), ("end", 3)]


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_a_layer_that_somebody_replaced(world: World, async_handlers: bool) -> None:
    """Tracing tools put themselves around the library's methods; they must see everything."""
    sio, seen = server(async_handlers=async_handlers), Heard()
    original = sio._trigger_event

    async def traced(event: str, namespace: str, *args: Any) -> Any:
        seen(event)
        return await original(event, namespace, *args)

    async def echo(sid: str, value: Any) -> Any:
        return value

    sio.on("echo", echo)
    await world.app(sio)
    client = await world.client()
    assert await client.call("echo", 1, timeout=10) == 1
    assert seen.empty
    sio._trigger_event = traced
    assert await client.call("echo", b"2", timeout=10) == b"2"
    assert await seen.next() == ("echo",)


class Traced(socketio.AsyncServer):  # type: ignore[misc]
    """One with a layer of its own."""

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        self.__dict__.setdefault("seen", []).append(event)
        return await super()._trigger_event(event, namespace, *args)


class Deeper(socketio.AsyncServer):  # type: ignore[misc]
    """The same, but further in."""

    async def _handle_event_internal(self, *args: Any) -> None:
        self.__dict__.setdefault("seen", ["connect"]).append(args[3][0])
        await super()._handle_event_internal(*args)


@pytest.mark.parametrize("kind", [Traced, Deeper])
async def test_a_subclass_with_a_layer_of_its_own(world: World, kind: type[Any]) -> None:
    sio = kind(async_mode="asgi")
    sio.on("echo", lambda sid, value: value)
    await world.app(sio)
    client = await world.client()
    assert await client.call("echo", 1, timeout=10) == 1
    with pytest.raises(socketio.exceptions.TimeoutError):
        await client.call("unknown", timeout=0.2)
    await until(lambda: sio.seen == ["connect", "echo", "unknown"])


def holds(moorage: Moorage, monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Hear when the link is held and released."""
    heard, hold = Heard(), moorage.link.hold

    def noted(held: bool) -> None:
        heard(held)
        hold(held)

    monkeypatch.setattr(moorage.link, "hold", noted)
    return heard


@pytest.mark.parametrize("kind", [socketio.AsyncServer, Traced])
async def test_handlers_beyond_the_bound(
    world: World, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is made to wait while too many handlers run, and only then."""
    monkeypatch.setattr(Events.__init__, "__kwdefaults__", {"max_backlog": 100_000})
    sio, heard, gate = kind(async_mode="asgi"), Heard(), asyncio.Event()

    async def slow(sid: str, value: str) -> None:
        heard(len(value))
        await gate.wait()

    sio.on("slow", slow)
    moorage = await world.app(sio)
    held = holds(moorage, monkeypatch)
    client = await world.client()
    for _ in range(20):
        await client.emit("slow", "x" * 10_000)
    assert await heard.some(20) == [(10_000,)] * 20, "what the service had credit for came"
    assert await held.next() == (True,)
    assert held.empty
    gate.set()
    assert await held.next() == (False,)
    assert held.empty


async def test_acks_are_not_stuck_behind_what_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every handler waits for an ack of its client: nothing may be held back then."""
    monkeypatch.setattr(Events.__init__, "__kwdefaults__", {"max_backlog": 50_000})
    sio = server()

    async def ask(sid: str, value: str) -> Any:
        return await sio.call("question", value, to=sid, timeout=10)

    sio.on("ask", ask)
    moorage = await world.app(sio)
    held = holds(moorage, monkeypatch)
    client = await world.client(on={"question": len})
    calls = [client.call("ask", "x" * 10_000, timeout=15) for _ in range(100)]
    assert await asyncio.gather(*calls) == [10_000] * 100
    if not held.empty:
        assert (await held.some(held.queue.qsize()))[-1] == (False,)


@pytest.mark.parametrize("event", ["join", "fetch"])
async def test_answers_of_the_service_are_not_stuck_behind_what_waits(
    peer: ServicePeer, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """Nor where every handler waits for the service itself, or a task of its own does."""
    monkeypatch.setattr(Events.__init__, "__kwdefaults__", {"max_backlog": 50_000})
    sio = server()

    async def join(sid: str, _: str) -> None:
        await asyncio.gather(sio.enter_room(sid, "a"), sio.leave_room(sid, "b"))

    async def fetch(sid: str, _: str) -> None:
        await moorage.fetch_sockets()

    sio.on("join", join)
    sio.on("fetch", fetch)
    moorage = await serving(peer, sio)
    held = holds(moorage, monkeypatch)
    await sid_of_client(peer)
    text = f'42["{event}","{"x" * 1000}"]'.encode()
    await peer.send(*(v1.Packet(1, text) for _ in range(60)))
    assert await held.some(2) == [(True,), (False,)]
    await moorage.close()


async def test_who_counts_as_waiting() -> None:
    """Handlers that run, each once, until they have all they wait for."""
    sio, begun = server(), Heard()

    async def begin() -> Any:
        return waits.begin()

    async def handler(sid: str) -> None:
        task = asyncio.current_task()
        first, second = waits.begin(), waits.begin()
        assert await asyncio.create_task(begin()) is first is second is task
        assert begun.queue.qsize() == 3
        for left in ({task: 2}, {task: 1}, {}, {}):
            waits.end(task)
            assert waits.waiting == left
        waits.begin()

    sio.on("event", handler)
    sio.async_handlers = False
    waits = Waits()
    events = Events(sio, None, None, waits)  # type: ignore[arg-type]
    waits.begun = begun
    assert waits.begin() is None, "no handler"
    running = events.start(Member("sid", "/", Client(1), None), ["event"], None, 1)
    assert running is not None
    await running
    assert (waits.running, waits.waiting) == ({}, {}), "what never came is not waited for"
    assert waits.begin() is None
    assert begun.queue.qsize() == 4
