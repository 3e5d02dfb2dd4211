"""Real `moorage serve` processes on a real nats-server, with Python app servers and clients at each node."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from itertools import count

import pytest
import socketio
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.sdk import use_moorage
from tests.integration.test_python_client import Client
from tests.support.nats_server import NatsServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.timeout(120)
_hubs = count(1)
SECONDS = 30.0


def until(check: Callable[[], bool], what: str) -> None:
    """Repeat `check` until it holds; processes have no event for it."""
    end = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@contextmanager
def nodes(server: NatsServer, **flags: tuple[str, ...]) -> Iterator[list[MoorageProcess]]:
    """Nodes with these names and flags, which start at the same time. All are ready."""
    key = secrets.token_hex(16)
    common = (f"cluster.nats_url={server.url}", "shutdown.lb_wait=0")
    with ExitStack() as stack:
        made = []
        for name, own in flags.items():
            settings = (*common, f"cluster.node_name={name}", *own)
            assignments = [part for setting in settings for part in ("--set", setting)]
            made.append(MoorageProcess(*assignments, command="serve", key=key))
            stack.callback(made[-1].kill)
        for process in made:
            process.__enter__()
        for process in made:
            until(lambda process=process: process.get("/readyz")[0] == 200, "ready")  # type: ignore[misc]
        yield made


def nodes_of(process: MoorageProcess) -> float:
    """How many nodes it knows, itself included."""
    return process.metric("moorage_cluster_nodes")


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture(scope="module")
def processes(server: NatsServer) -> Iterator[list[MoorageProcess]]:
    """Two nodes."""
    with nodes(server, first=(), second=()) as made:
        for process in made:
            assert nodes_of(process) == 2
        yield made


def test_a_node_says_that_it_listens_and_later_that_it_is_ready(processes: list[MoorageProcess]) -> None:
    for process in processes:
        process.wait_record(event="ready", url=process.url)
        found = [json.loads(line) for line in process.lines if '"url"' in line]
        assert [(line["event"], line.get("not_ready")) for line in found] == [
            ("listening", "joining"),
            ("ready", None),
        ]


class Place:
    """A node's app server, and a client of it."""

    def __init__(self, process: MoorageProcess, hub: str) -> None:
        self.process = process
        self.hub = hub
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.sio.on("connect", self._connected)
        self.client = Client()
        self.sid = ""

    async def _connected(self, sid: str, _environ: object) -> None:
        self.arrived.put_nowait(sid)

    async def start(self, stack: AsyncExitStack) -> None:
        """Link the app server, connect the client."""
        self.moorage = await use_moorage(
            self.sio, hub=self.hub, connection_string=self.process.connection_string
        )
        stack.push_async_callback(self.moorage.close)
        await stack.enter_async_context(self.client)
        await self.client.sio.connect(
            self.process.url,
            socketio_path=f"clients/socketio/hubs/{self.hub}",
            transports=["websocket"],
            wait_timeout=PATIENCE,
        )
        self.sid = await self.arrived.get()

    def rest(self) -> WebPubSubServiceClient:
        """The REST API of this node."""
        return WebPubSubServiceClient.from_connection_string(self.process.connection_string, hub=self.hub)


@pytest.fixture
async def places(processes: list[MoorageProcess]) -> AsyncIterator[list[Place]]:
    hub = f"nodes_{next(_hubs)}"
    async with AsyncExitStack() as stack:
        made = [Place(process, hub) for process in processes]
        for place in made:
            await place.start(stack)
        yield made


async def test_rooms_acks_and_rest_cross_nodes(places: list[Place]) -> None:
    for here, there in (places, places[::-1]):
        await here.sio.emit("to all", {"n": 1})
        for place in places:
            assert await place.client.next() == ("to all", {"n": 1})
        await there.sio.enter_room(there.sid, "room")
        await here.sio.emit("to a room", room="room")
        assert await there.client.next() == ("to a room",)
        assert await here.sio.call("question", "x", to=there.sid) == ["got", "x"]
        assert await there.client.next() == ("question", "x")
        with here.rest() as rest:
            await asyncio.to_thread(rest.send_to_all, '42["rest"]', content_type="text/plain")
        for place in places:
            assert await place.client.next() == ("rest",)
        await there.sio.leave_room(there.sid, "room")
    for place in places:
        assert await asyncio.to_thread(place.process.metric, "moorage_cluster_join_seconds_count") >= 1
        assert await asyncio.to_thread(place.process.metric, "moorage_cluster_directory_groups") >= 1


def test_a_node_that_ends_says_goodbye(server: NatsServer) -> None:
    with nodes(server, third=("cluster.name=goodbye",), fourth=("cluster.name=goodbye",)) as (third, fourth):
        assert nodes_of(third) == 2
        fourth.signal(signal.SIGTERM)
        assert fourth.wait_exit() == 0
        until(lambda: nodes_of(third) == 1, "one node")
        assert third.wait_record(event="node left", name="fourth")["nodes"] == 1


def test_without_nats_nodes_are_alone_and_come_back(
    processes: list[MoorageProcess], server: NatsServer
) -> None:
    server.end()
    for process in processes:
        until(lambda process=process: nodes_of(process) == 1, "alone")  # type: ignore[misc]
        assert process.get("/readyz") == (503, b'{"status":"unavailable","reason":"no-nats"}')
    server.start()
    for process in processes:
        until(lambda process=process: nodes_of(process) == 2, "together again")  # type: ignore[misc]
        assert process.get("/readyz")[0] == 200


def test_clusters_with_different_names_do_not_meet(
    processes: list[MoorageProcess], server: NatsServer
) -> None:
    with nodes(server, third=("cluster.name=other",)) as (third,):
        assert nodes_of(third) == 1
        assert nodes_of(processes[0]) == 2


def refusal(*flags: str) -> str:
    """What a service says that does not start."""
    process = MoorageProcess(*flags, command="serve")
    try:
        assert process.wait_exit() == 1
        return process.wait_line(lambda line: "cluster.nats_url" in line)
    finally:
        process.kill()


def test_a_server_that_cannot_be_reached_stops_the_start() -> None:
    stopped = NatsServer()
    line = refusal("--set", f"cluster.nats_url={stopped.url}")
    assert f"cluster.nats_url: no NATS server can be used: {stopped.url}: " in line


@pytest.mark.parametrize(
    ("flags", "login"), [(("--user", "u", "--pass", "p/s"), "u:p%2Fs@"), (("--auth", "secret"), "secret@")]
)
def test_login(flags: tuple[str, ...], login: str) -> None:
    with NatsServer(*flags) as server:
        line = refusal("--set", f"cluster.nats_url={server.url}")
        assert "Authorization Violation" in line
        url = server.url.replace("nats://", f"nats://{login}")
        with MoorageProcess("--set", f"cluster.nats_url=nats://127.0.0.1:1,{url}") as running:
            running.wait_record(event="connected to NATS")
            assert not any(login[:-1] in line for line in running.lines)


# The last one, because it ends a node that the others use.
async def test_a_node_that_is_killed_is_missing_and_the_others_go_on(
    places: list[Place], processes: list[MoorageProcess]
) -> None:
    here, _ = places
    processes[1].signal(signal.SIGKILL)
    began = time.monotonic()
    # The node is still on the list, so this waits for it until it is taken off.
    found = await here.moorage.fetch_sockets(timeout=20.0)
    assert ([one.id for one in found], found.missing) == ([here.sid], ("second",))
    assert time.monotonic() - began < 15, "three heartbeats, and not the time of the request"
    await asyncio.to_thread(until, lambda: nodes_of(processes[0]) == 1, "one node")
    await here.sio.emit("still here")
    assert await here.client.next() == ("still here",)
    assert processes[0].get("/readyz")[0] == 200
