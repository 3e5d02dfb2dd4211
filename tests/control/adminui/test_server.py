"""The Admin UI's side of a running service, with stock clients in the UI's place."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import aiohttp
import pytest
import socketio

from moorage.control.adminui.server import MAX_VIEWERS
from moorage.wire.inspect.forms import AuditQuery
from tests.control.admin.serving import OPERATE, serving
from tests.integration.test_nodes import until
from tests.support.admin import Admin
from tests.support.app_link import AppServer
from tests.support.python_client import PATIENCE
from tests.support.rawhttp import clients
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.traces import FLAGS, OPERATE_KEY, READ_KEY
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)
ON = (*FLAGS, "--set=admin.socketio_ui=true")
SECONDS = 20.0


class Ui:
    """A stock client that logs in as the Admin UI does. `events` collects what it is told."""

    def __init__(self, service: MoorageProcess, hub: str = "app", **auth: str) -> None:
        self._service = service
        self.namespace = "/admin" if hub == "app" else f"/admin/{hub}"
        self._auth = auth
        self._http = aiohttp.ClientSession()
        self.sio = socketio.AsyncClient(reconnection=False, http_session=self._http)
        self.events: list[tuple[Any, ...]] = []
        self._changed = asyncio.Condition()
        self.sio.on("*", self._event, namespace=self.namespace)
        self.sio.on("connect_error", self._refused, namespace=self.namespace)
        self.refusals: list[Any] = []
        self.gone = asyncio.Event()
        self.sio.on("disconnect", lambda *_: self.gone.set(), namespace=self.namespace)

    async def _event(self, name: str, *arguments: Any) -> None:
        async with self._changed:
            self.events.append((name, *arguments))
            self._changed.notify_all()

    async def _refused(self, data: Any) -> None:
        self.refusals.append(data)

    async def __aenter__(self) -> Ui:
        await self.sio.connect(
            self._service.url,
            transports=["websocket"],
            socketio_path="/admin/socket.io",
            namespaces=[self.namespace],
            auth=self._auth,
            wait_timeout=PATIENCE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sio.disconnect()
        await self._http.close()
        # A transport that is closed ends in the next turn of the loop.
        await asyncio.sleep(0)
        with warnings.catch_warnings():
            # A client that is refused keeps an answer that nobody has read.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def until(self, holds: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        """The first event that is as wanted."""
        try:
            async with asyncio.timeout(SECONDS), self._changed:
                await self._changed.wait_for(lambda: any(map(holds, self.events)))
        except TimeoutError:
            raise AssertionError(self.events) from None
        return next(event for event in self.events if holds(event))

    async def named(self, name: str) -> tuple[Any, ...]:
        """The first event with this name."""
        return await self.until(lambda event: event[0] == name)

    async def order(self, *event: Any) -> None:
        """Send an event."""
        await self.sio.emit(event[0], event[1:], namespace=self.namespace)


def is_of(node: str, event: tuple[Any, ...]) -> bool:
    """True for the figures of a node."""
    return event[0] == "server_stats" and bool(event[1]["serverId"] == node)


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(*ON) as running:
        yield running


@pytest.fixture
async def client(service: MoorageProcess, request: pytest.FixtureRequest) -> AsyncIterator[WebSocket]:
    """A client with a socket in `/`, in a hub named like the test."""
    hub = request.function.__name__
    async with AppServer(service, hub), await WebSocket.session(service.url, clients(hub)) as made:
        await made.send("40")
        await made.text()
        yield made


def test_its_app_server_is_as_old_as_the_service(service: MoorageProcess) -> None:
    admin = Admin(service.url, READ_KEY)
    (row,) = [row for row in admin.get("/apps")["apps"] if row["id"] == "admin-ui"]
    (node,) = admin.get("/nodes")["nodes"]
    assert row["age"] <= node["uptime"] + 0.1


async def test_orders(service: MoorageProcess, client: WebSocket) -> None:
    hub = "test_orders"
    async with Ui(service, hub, username="x", password=OPERATE_KEY) as ui:
        sid = (await ui.named("all_sockets"))[1][0]["id"]
        await ui.order("join", "/", "a room", sid)
        assert (await ui.named("room_joined"))[1:4] == ("/", "a room", sid)
        await ui.order("emit", "/", "a room", "news", {"a": 1})
        assert await client.text() == '42["news",{"a":1}]'
        await ui.order("leave", "/", "a room", sid)
        assert (await ui.named("room_left"))[1:4] == ("/", "a room", sid)
        await ui.order("emit", "no namespace")
        await ui.order("unknown", "/")
        await ui.order("_disconnect", "/", False, sid)
        assert await client.text() == "41"
        assert (await ui.named("socket_disconnected"))[1:3] == ("/", sid)
    audit = await asyncio.to_thread(Admin(service.url, READ_KEY).get, "/audit")
    mine = [each for each in audit["actions"] if each["target"].get("hub") == hub]
    assert [(each["action"], each["outcome"]) for each in reversed(mine)] == [
        ("join", "done"),
        ("emit", "done"),
        ("leave", "done"),
        ("emit", "api-bad-body"),
        ("disconnect", "done"),
    ]


async def test_a_reader(service: MoorageProcess, client: WebSocket) -> None:
    async with Ui(service, "test_a_reader", password=READ_KEY) as ui:
        config = await ui.named("config")
        assert config[1]["supportedFeatures"] == ["AGGREGATED_EVENTS", "ALL_EVENTS"]
        await ui.order("emit", "/", None, "news")
        await client.send('42["secret",1]')
        event = await ui.named("event_received")
        assert event[3] == ["secret"], "payloads are for operators"
        assert await client.text() == '42["secret",1]', "the echo comes first, because the emit was refused"


async def test_a_session(service: MoorageProcess) -> None:
    async with Ui(service, password=OPERATE_KEY) as ui:
        session = (await ui.named("session"))[1]
    async with Ui(service, sessionId=session) as again:
        assert (await again.named("session"))[1] == session
        assert "EMIT" in (await again.named("config"))[1]["supportedFeatures"]


@pytest.mark.parametrize(
    ("hub", "auth", "message"),
    [
        ("app", {"password": "wrong"}, "invalid credentials"),
        ("app", {}, "invalid credentials"),
        ("app", {"sessionId": "forged.forged.forged"}, "invalid credentials"),
        ("not a hub", {"password": READ_KEY}, "Invalid namespace"),
    ],
)
async def test_refusals(service: MoorageProcess, hub: str, auth: dict[str, str], message: str) -> None:
    ui = Ui(service, hub, **auth)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await ui.__aenter__()
    await ui.__aexit__()
    assert ui.refusals == [{"message": message}]


async def test_strangers_are_told_nothing(service: MoorageProcess) -> None:
    async with await WebSocket.session(service.url, "/admin/socket.io/") as stranger:
        await stranger.send('42/admin,["emit","/",null,"news"]')
        await stranger.send("42/admin,[]")
        await stranger.send("41/admin,")
        await stranger.send('40/other,{"password":"x"}')
        assert json.loads((await stranger.text()).removeprefix("44/other,")) == {
            "message": "Invalid namespace"
        }
    async with AsyncExitStack() as stack:
        for _ in range(MAX_VIEWERS):
            await stack.enter_async_context(Ui(service, password=READ_KEY))
        one_more = Ui(service, password=READ_KEY)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await one_more.__aenter__()
        await one_more.__aexit__()
        assert one_more.refusals == [{"message": f"at most {MAX_VIEWERS} Admin UIs at this node"}]


async def test_who_logs_in_again_in_one_step_can_still_act(
    service: MoorageProcess, client: WebSocket
) -> None:
    """The end of the former login must not take away the new one."""
    hub = "test_who_logs_in_again_in_one_step_can_still_act"
    login = f'40/admin/{hub},{{"password":"{OPERATE_KEY}"}}'
    async with await WebSocket.session(service.url, "/admin/socket.io/") as ui:
        await ui.send(login)
        await _told(ui, "all_sockets")
        await ui.raw(frame(TEXT, f"41/admin/{hub},".encode()) + frame(TEXT, login.encode()))
        await _told(ui, "all_sockets")
        await ui.send(f'42/admin/{hub},["emit","/",null,"news"]')
        assert await client.text() == '42["news"]'


async def test_an_order_after_the_key_has_changed() -> None:
    async with serving(admin__socketio_ui=True) as served:
        admin = served.service.admin
        assert admin is not None
        async with await WebSocket.session(served.url, "/admin/socket.io/") as ui:
            await ui.send(f'40/admin,{{"password":"{OPERATE}"}}')
            await _told(ui, "all_sockets")
            admin.keys.replace("", "n" * 32)
            await ui.send('42/admin,["emit","/",null,"news"]')
            await ui.ended()
        (action,) = admin.audit.list(AuditQuery()).actions
        assert (action.action, action.outcome) == ("emit", "admin-session-over")


async def _told(ui: WebSocket, event: str) -> None:
    """Wait until the UI gets this event."""
    while event not in await ui.text():
        pass


async def test_it_is_off_by_default() -> None:
    with MoorageProcess(*FLAGS) as plain:
        status, _ = await asyncio.to_thread(plain.get, "/admin/socket.io/?EIO=4&transport=polling")
        assert status == 404


async def test_two_nodes() -> None:
    with two_nodes(*ON) as (one, two):
        async with AppServer(one, "app"), AsyncExitStack() as stack:

            def announced() -> bool:
                return two.metric('moorage_cluster_app_servers{hub="app"}') == 1

            await asyncio.to_thread(until, announced, "the app server is announced")
            there = await stack.enter_async_context(await WebSocket.session(two.url, clients("app")))
            await there.send("40")
            await there.text()
            ui = await stack.enter_async_context(Ui(one, password=OPERATE_KEY))
            rows = (await ui.named("all_sockets"))[1]
            assert len(rows) == 1
            for name in ("node-1", "node-2"):
                await ui.until(partial(is_of, name))
            await there.send('42["from the other node"]')
            event = await ui.named("event_received")
            assert event[1:4] == ("/", rows[0]["id"], ["from the other node"])
            await ui.order("emit", "/", None, "to the other node")
            while await there.text() != '42["to the other node"]':
                pass
