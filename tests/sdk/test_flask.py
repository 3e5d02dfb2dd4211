"""Flask-SocketIO through Moorage: nothing of its programming model changes."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import flask
import flask_socketio
import pytest
from socketio.exceptions import ConnectionError as RefusedByServer
from werkzeug.serving import make_server

from moorage.sdk.errors import UsageError
from tests.sdk.threads.world import Record, World, next_of, world_of
from tests.support.service import MoorageProcess

request: Any = flask.request
"""With what Flask-SocketIO adds to it."""


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


def new_app(**options: Any) -> tuple[flask.Flask, Any]:
    app = flask.Flask(__name__)
    app.secret_key = "for this test only"
    return app, flask_socketio.SocketIO(app, async_mode="threading", **options)


async def test_handlers_have_the_request_of_their_client(world: World) -> None:
    app, socketio = new_app()
    seen = Record()

    def connect(auth: Any) -> None:
        seen(request.sid, request.namespace, auth, request.headers["X-Colour"], request.args["EIO"])
        seen(request.remote_addr, request.url.partition("?")[0], flask.current_app.name == app.name)

    socketio.on_event("connect", connect)
    socketio.on_event("who", lambda: [request.sid, request.namespace, request.event["message"]])
    await world.serve(socketio)
    client = await world.client(headers={"X-Colour": "green"}, auth={"name": "Ada"})
    path = f"/clients/socketio/hubs/{world.hub}/"
    assert await seen.wait(2) == [
        (client.get_sid(), "/", {"name": "Ada"}, "green", "4"),
        ("127.0.0.1", f"{world.service.url}{path}", True),
    ]
    assert await client.call("who") == [client.get_sid(), "/", "who"]


async def test_a_session_per_client_that_starts_from_the_cookie(world: World) -> None:
    app, socketio = new_app()

    def count() -> list[Any]:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return [flask.session.get("user"), flask.session["count"]]

    socketio.on_event("count", count)

    @app.get("/login")
    def login() -> str:
        flask.session["user"] = "Ada"
        return "in"

    cookie = app.test_client().get("/login").headers["Set-Cookie"].partition(";")[0]
    await world.serve(socketio)
    known = await world.client(headers={"Cookie": cookie})
    unknown = await world.client()
    assert [await known.call("count") for _ in range(2)] == [["Ada", 1], ["Ada", 2]]
    assert await unknown.call("count") == [None, 1]


async def test_emits_rooms_and_broadcasts_as_flask_socketio_spells_them(world: World) -> None:
    _, socketio = new_app()
    emit, gone = flask_socketio.emit, Record()

    def tell(text: str) -> list[str]:
        flask_socketio.join_room(7)
        emit("self", text)
        emit("others", text, broadcast=True, include_self=False)
        emit("all", text, broadcast=True)
        emit("room", text, to=7)
        flask_socketio.send("a message")
        flask_socketio.leave_room(7)
        emit("room", text, to=7)
        socketio.emit("end", namespace="/")
        return sorted(str(room) for room in flask_socketio.rooms())

    socketio.on_event("tell", tell)
    socketio.on_event("bye", flask_socketio.disconnect)
    socketio.on_event("disconnect", lambda reason: gone(request.sid, reason))
    await world.serve(socketio)
    first, second = await world.client(), await world.client()
    sid = first.get_sid()
    assert await first.call("tell", "hi") == [sid]
    assert [await next_of(first.heard) for _ in range(5)] == [
        ("self", "hi"), ("all", "hi"), ("room", "hi"), ("message", "a message"), ("end",),
    ]  # fmt: skip
    assert [await next_of(second.heard) for _ in range(3)] == [("others", "hi"), ("all", "hi"), ("end",)]
    await first.emit("bye")
    assert await gone.wait(1) == [(sid, "server disconnect")]


async def test_call_and_callbacks_run_in_the_context_of_who_asked(world: World) -> None:
    _, socketio = new_app()
    answers = Record()

    def ask() -> Any:
        flask_socketio.emit("question", 1, callback=lambda value: answers(request.sid, value))
        return flask_socketio.call("question", 41)

    socketio.on_event("ask", ask)
    await world.serve(socketio)
    client = await world.client(on={"question": lambda number: number + 1})
    assert await client.call("ask") == 42
    assert await answers.wait(1) == [(client.get_sid(), 2)]


async def test_classes_and_error_handlers(world: World) -> None:
    _, socketio = new_app()
    failed = Record()

    class Shop(flask_socketio.Namespace):  # type: ignore[misc]
        def on_connect(self) -> None:
            flask_socketio.join_room("customers")

        def on_order(self, what: str) -> str:
            self.emit("ordered", what, room="customers")
            return str(request.namespace)

        def on_bad(self) -> None:
            raise ValueError("an order")

    def on_error(error: Exception) -> None:
        failed(repr(error), request.event["message"])

    socketio.on_namespace(Shop("/shop"))
    socketio.on_error_default(on_error)
    await world.serve(socketio)
    client = await world.client("/shop")
    assert await client.call("order", "tea", namespace="/shop") == "/shop"
    assert await next_of(client.heard) == ("ordered", "tea")
    await client.emit("bad", namespace="/shop")
    assert await failed.wait(1) == [("ValueError('an order')", "bad")]


async def test_a_refusal_reaches_the_client(world: World) -> None:
    _, socketio = new_app()

    def connect() -> None:
        raise flask_socketio.ConnectionRefusedError("members only")

    socketio.on_event("connect", connect)
    await world.serve(socketio)
    reasons = Record()
    with pytest.raises(RefusedByServer):
        await world.client(on={"connect_error": reasons})
    assert reasons.notes == [{"message": "members only"}]


async def test_emits_from_requests_and_background_tasks_reach_clients(world: World) -> None:
    app, socketio = new_app()

    @app.post("/news")
    def news() -> str:
        socketio.emit("news", request.get_data(as_text=True))
        return str(socketio.start_background_task(lambda: socketio.emit("later")).join(10))

    await world.serve(socketio)
    client = await world.client()
    answer = await asyncio.to_thread(app.test_client().post, "/news", data="hot")
    assert answer.status_code == 200
    assert [await next_of(client.heard) for _ in range(2)] == [("news", "hot"), ("later",)]


async def test_a_wsgi_server_goes_on_serving_the_app(world: World) -> None:
    app, socketio = new_app()
    app.add_url_rule("/", view_func=lambda: "the page")
    await world.serve(socketio)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.port}"
        with await asyncio.to_thread(urllib.request.urlopen, address) as page:
            assert page.read() == b"the page"
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(urllib.request.urlopen, f"{address}/socket.io/?EIO=4&transport=polling")
        with refused.value as answer:
            assert world.service.url in answer.read().decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_an_app_that_comes_later_and_one_that_never_comes(world: World) -> None:
    socketio = flask_socketio.SocketIO()
    with pytest.raises(UsageError, match="init_app"):
        await world.serve(socketio)
    socketio.on_event("ping", lambda: "pong")
    socketio.init_app(flask.Flask(__name__), async_mode="threading")
    await world.serve(socketio)
    client = await world.client()
    assert await client.call("ping") == "pong"


@pytest.mark.repair(19)
async def test_the_test_client(world: World) -> None:
    """As without Moorage: its clients are in this process."""
    app, socketio = new_app()

    @socketio.on("join")  # type: ignore[untyped-decorator]
    def join(room: str) -> str:
        flask_socketio.join_room(room)
        flask_socketio.emit("joined", room, to=room)
        return "done"

    @socketio.on("session")  # type: ignore[untyped-decorator]
    def session() -> None:
        flask_socketio.emit("who", request.args.get("who"))

    await world.serve(socketio)

    def talk() -> None:
        one = socketio.test_client(app, query_string="who=ada")
        two = socketio.test_client(app)
        assert one.is_connected()
        assert one.emit("join", "r", callback=True) == "done"
        assert one.get_received() == [{"name": "joined", "args": ["r"], "namespace": "/"}]
        one.emit("session")
        assert one.get_received()[0]["args"] == ["ada"]
        socketio.emit("all", 1)
        assert [client.get_received()[0]["name"] for client in (one, two)] == ["all", "all"]
        one.disconnect()
        assert not one.is_connected()

    await asyncio.to_thread(talk)
