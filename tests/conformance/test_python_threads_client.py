"""The stock client of python-socketio with threads: `requests` for polling and websocket-client."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import socketio
from socketio.exceptions import ConnectionError as ConnectError

from tests.conformance.capabilities import shows
from tests.conformance.program import PATIENCE
from tests.conformance.proxy import Proxy
from tests.conformance.stage import Stage

pytestmark = pytest.mark.repair(24)

BYTES = bytes([0, 1, 254, 255])
ROUTES = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
ENDS = {"websocket": "websocket", "polling": "polling", "upgrade": "websocket"}
"""The transport that a client uses after `connect`."""


class ThreadsClient:
    """A `socketio.Client` in the stage's namespace, and its received events."""

    def __init__(self, stage: Stage, route: str, proxy: Proxy, http: requests.Session) -> None:
        self.stage = stage
        self.proxy = proxy
        self._route = route
        # Its own session would leave connections open.
        self.inner: Any = socketio.Client(
            http_session=http, reconnection_delay=0.05, reconnection_delay_max=0.2, handle_sigint=False
        )
        self._packets = ThreadPoolExecutor(1)
        self._start = self.inner.eio.start_background_task
        self.inner.eio.start_background_task = self._in_turn
        self._events: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self.inner.on("*", self._event, namespace=stage.ns)
        self.inner.on("connect", lambda: self._events.put(("connect",)), namespace=stage.ns)
        self.inner.on("disconnect", lambda _: self._events.put(("disconnect",)), namespace=stage.ns)

    def _in_turn(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The library starts a thread for each packet. On a busy machine an attachment may then be handled
        before its event, which loses both. So one thread handles all packets."""
        if target == self.inner.eio.handlers["message"]:
            return self._packets.submit(target, *args)
        return self._start(target, *args, **kwargs)

    def _event(self, name: str, *args: Any) -> Any:
        self._events.put((name, *args))
        return args if name == "echo" else None

    def connect(self, **auth: Any) -> str:
        """Its socket id."""
        self.inner.connect(
            f"http://127.0.0.1:{self.proxy.port}",
            socketio_path=f"/clients/socketio/hubs/{self.stage.hub}/",
            transports=ROUTES[self._route],
            namespaces=[self.stage.ns],
            auth=auth,
            wait_timeout=PATIENCE,
        )
        assert self.next() == ("connect",)
        return self.sid()

    def sid(self) -> str:
        sid: str = self.inner.get_sid(namespace=self.stage.ns)
        return sid

    def close(self) -> None:
        self.inner.shutdown()
        self._packets.shutdown()

    def next(self) -> tuple[Any, ...]:
        """The next event."""
        return self._events.get(timeout=PATIENCE)

    def call(self, *args: Any) -> Any:
        """Emit an event and return the answer."""
        return self.inner.call("echo", args, namespace=self.stage.ns, timeout=PATIENCE)


@pytest.fixture(params=["websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    """The client of this file does not use the stage's transport."""
    name: str = request.param
    return name


@pytest.fixture(params=ROUTES)
def client(stage: Stage, request: pytest.FixtureRequest) -> Iterator[ThreadsClient]:
    """Not connected yet."""
    with Proxy(stage.service) as proxy, requests.Session() as http:
        made = ThreadsClient(stage, request.param, proxy, http)
        yield made
        made.close()


@shows("events", "binary", "client-ack", "socket-ack", "rooms", "disconnect")
def test_a_conversation(client: ThreadsClient, request: pytest.FixtureRequest) -> None:
    stage = client.stage.define()
    space = stage.space
    sid = client.connect(token="é")
    assert client.inner.transport() == ENDS[request.node.callspec.params["client"]]
    space.wait("connection", sid=sid)
    assert space.call("handshake", sid=sid)["auth"] == {"token": "é"}

    assert client.call({"deep": [BYTES]}, "é") == ({"deep": [BYTES]}, "é")
    space.call("send", sid=sid, args=["down", BYTES, {"deep": BYTES}])
    assert client.next() == ("down", BYTES, {"deep": BYTES})
    assert space.call("ask_socket", sid=sid, args=["echo", 1, BYTES], timeout=15_000) == [1, BYTES]
    assert client.next() == ("echo", 1, BYTES)
    assert space.call("ask", args=["echo", 2], timeout=15_000)["answers"] == [2]
    assert client.next() == ("echo", 2)

    space.call("join", sid=sid, rooms=["room"])
    space.call("emit", to=["room"], args=["x", "é" * 40_000])
    assert client.next() == ("x", "é" * 40_000)
    space.call("disconnect", sid=sid, close=False)
    assert client.next() == ("disconnect",)
    space.wait("disconnect", sid=sid)


@shows("events", "client-ack")
def test_a_lost_connection(client: ThreadsClient) -> None:
    """The client reconnects with a new socket, and both directions work again."""
    stage = client.stage.define()
    old = client.connect()
    client.proxy.cut()
    assert client.next() == ("disconnect",)
    client.proxy.restore()
    assert client.next() == ("connect",)
    assert client.sid() != old
    assert client.call("again") == "again"
    stage.space.call("emit", args=["x", 1])
    assert client.next() == ("x", 1)


@shows("middleware")
def test_a_refusal(client: ThreadsClient) -> None:
    client.stage.define(refuse=[{"auth": {"key": "lost"}, "message": "stay out", "data": [1]}])
    with pytest.raises(ConnectError):
        client.connect(key="lost")
    client.stage.space.until_serves()
