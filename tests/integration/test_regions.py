"""Three regions: real nodes, a real nats-server in each region, gateways with 100 ms of delay each way. The
regions `eu` (two nodes) and `us` have a Python app server each, `ap` has none."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from itertools import count
from typing import Any

import pytest
import socketio
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.sdk import use_moorage
from moorage.wire.groups import room_group
from tests.integration.test_nodes import nodes_of, until
from tests.integration.test_python_client import Client
from tests.support.gateways import Gateways, gateways
from tests.support.programs import free_port
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
DELAY = 0.1
LONG_DELAY = 0.3
JITTER = 0.1
SECONDS = 30.0
REGIONS = {"eu-1": "eu", "eu-2": "eu", "us-1": "us", "ap-1": "ap"}
_hubs = count(1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with gateways(("eu", "us", "ap"), DELAY, tmp_path_factory.mktemp("gateways")) as made:
        yield made


@pytest.fixture(scope="module")
def processes(network: Gateways) -> Iterator[dict[str, MoorageProcess]]:
    """The nodes. All know each other."""
    key, made = secrets.token_hex(16), dict[str, MoorageProcess]()
    with ExitStack() as stack:
        for name, region in REGIONS.items():
            port = free_port()
            settings = (
                f"cluster.nats_url={network.servers[region].url}",
                f"cluster.node_name={name}",
                f"cluster.region={region}",
                f"cluster.advertise=http://127.0.0.1:{port}",
            )
            flags = [part for setting in settings for part in ("--set", setting)]
            made[name] = MoorageProcess(*flags, f"--port={port}", command="serve", key=key)
            stack.callback(made[name].kill)
        for process in made.values():
            process.__enter__()
        for process in made.values():
            until(lambda process=process: nodes_of(process) == 4, "all nodes hear each other")  # type: ignore[misc]
            until(lambda process=process: process.get("/readyz")[0] == 200, "ready")  # type: ignore[misc]
        yield made


class App:
    """An app server with its first link at one node."""

    def __init__(self, process: MoorageProcess, hub: str) -> None:
        self.process = process
        self.hub = hub
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.told: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.sio.on("connect", self._connected)
        self.sio.on("disconnect", self._disconnected)

    async def _connected(self, sid: str, _environ: object) -> None:
        self.arrived.put_nowait(sid)

    async def _disconnected(self, sid: str, _reason: str) -> None:
        self.gone.put_nowait(sid)

    async def start(self) -> None:
        self.moorage = await use_moorage(
            self.sio, hub=self.hub, connection_string=self.process.connection_string
        )
        self.moorage.on_server_event("note")(lambda *args: self.told.put_nowait(args))


class World:
    """The app servers of two regions, and a client at each node."""

    def __init__(self, processes: dict[str, MoorageProcess], stack: AsyncExitStack) -> None:
        self.hub = f"regions{next(_hubs)}"
        self.processes = processes
        self.stack = stack
        self.eu, self.us = (App(processes[name], self.hub) for name in ("eu-1", "us-1"))
        self.clients: dict[str, Client] = {}
        self.sids: dict[str, str] = {}

    async def start(self) -> None:
        for app in (self.eu, self.us):
            await app.start()
            self.stack.push_async_callback(app.moorage.close)
        await eventually(lambda: len(self.eu.moorage.nodes) == 2)
        for name in self.processes:
            await self.connect(name)
        await self.known()

    async def known(self) -> None:
        """Wait until both regions know of all sockets: those of another region are seen later."""
        async with asyncio.timeout(SECONDS):
            for app in (self.eu, self.us):
                while len(await app.moorage.fetch_sockets()) != len(self.processes):
                    await asyncio.sleep(0.01)  # between two looks, not instead of them

    async def connect(self, name: str) -> None:
        """A client at this node. A node without a session of an app server hears of one a moment later."""
        client = self.clients[name] = await self.stack.enter_async_context(Client())
        async with asyncio.timeout(SECONDS):
            while not client.sio.connected:
                with suppress(socketio.exceptions.ConnectionError):
                    await client.sio.connect(
                        self.processes[name].url,
                        socketio_path=f"clients/socketio/hubs/{self.hub}",
                        transports=["websocket"],
                        wait_timeout=PATIENCE,
                    )
            arrived = {asyncio.ensure_future(app.arrived.get()): app for app in (self.eu, self.us)}
            done, waiting = await asyncio.wait(arrived, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
            self.sids[name] = done.pop().result()
        while not client.heard.empty():
            client.heard.get_nowait()  # a refused attempt

    async def send(self, name: str, room: str, text: str) -> None:
        """An emit to a room through the REST API of a node."""
        with WebPubSubServiceClient.from_connection_string(
            self.processes[name].connection_string, hub=self.hub
        ) as rest:
            await asyncio.to_thread(
                rest.send_to_group, room_group("/", room), f'42["{text}"]', content_type="text/plain"
            )


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not check():
            await asyncio.sleep(0.01)  # between two looks, not instead of them


@pytest.fixture
async def world(processes: dict[str, MoorageProcess]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(processes, stack)
        await made.start()
        yield made


def gaps(processes: dict[str, MoorageProcess]) -> list[float]:
    return [process.metric("moorage_cluster_gaps_total") for process in processes.values()]


async def took(call: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


async def test_an_app_server_is_linked_to_the_nodes_of_its_region(world: World) -> None:
    assert set(world.eu.moorage.nodes) == {"eu-1", "eu-2"}
    assert set(world.us.moorage.nodes) == {"us-1"}


async def test_emits_reach_all_regions_in_order(world: World) -> None:
    for number in range(300):
        await world.eu.sio.emit("n", number)
    for client in world.clients.values():
        assert [await client.next() for _ in range(300)] == [("n", number) for number in range(300)]
    await world.us.sio.emit("direct", "x", to=world.sids["eu-2"])
    assert await world.clients["eu-2"].next() == ("direct", "x")
    await world.us.sio.emit("but one", skip_sid=world.sids["eu-1"])
    for name, client in world.clients.items():
        if name != "eu-1":
            assert await client.next() == ("but one",)
    assert world.clients["eu-1"].heard.empty()


async def test_acks_fetch_and_server_events_cross_regions(world: World) -> None:
    app = world.eu
    for name in ("us-1", "ap-1"):
        assert await app.sio.call("question", name, to=world.sids[name], timeout=20) == ["got", name]
    acks = await app.moorage.emit_with_acks("all", "x", timeout=20.0)
    assert (len(acks.answers), acks.missing) == (4, ())
    found = await app.moorage.fetch_sockets(timeout=20.0)
    assert {socket.id for socket in found} == set(world.sids.values())
    assert await app.moorage.sockets_join("everybody") == 4
    await world.us.sio.emit("to everybody", room="everybody")
    for client in world.clients.values():
        while await client.next() != ("to everybody",):
            pass
    await app.moorage.server_side_emit("note", 1)
    async with asyncio.timeout(SECONDS):
        assert await world.us.told.get() == (1,)
    assert await app.moorage.disconnect_sockets(to=world.sids["ap-1"]) == 1


async def test_a_join_is_visible_at_once_in_its_region_and_later_in_others(
    world: World,
) -> None:
    """The rooms have members in the other region already, so that nobody has to send them everywhere."""
    joins, delays = list[float](), list[float]()
    for number in range(10):
        room = f"room{number}"
        await world.us.sio.enter_room(world.sids["us-1"], room)
        await asyncio.sleep(3 * DELAY)
        joins.append(await took(world.eu.sio.enter_room(world.sids["eu-1"], room)))
        joined, sent = time.perf_counter(), list[float]()
        await world.send("eu-2", room, "near")
        assert await world.clients["eu-1"].next() == ("near",)
        while world.clients["eu-1"].heard.empty():
            sent.append(time.perf_counter())
            await world.send("us-1", room, f"{len(sent) - 1}")
        first = (await world.clients["eu-1"].next())[0]
        delays.append(sent[int(first)] - joined)
        await asyncio.sleep(3 * DELAY)
        for client in world.clients.values():
            while not client.heard.empty():
                client.heard.get_nowait()
    for what, found in (("a join", joins), ("until another region knows", delays)):
        print(f"{what}: median {statistics.median(found) * 1000:.0f} ms, at most {max(found) * 1000:.0f} ms")
    assert statistics.median(joins) < DELAY
    assert max(delays) < 10 * DELAY


async def test_a_client_of_a_region_without_app_server_is_served(world: World) -> None:
    client = world.clients["ap-1"]
    for number in range(50):
        app = world.eu if number % 2 else world.us
        await app.sio.emit("n", number, to=world.sids["ap-1"])
    heard = [(await client.next())[1] for _ in range(50)]
    assert sorted(heard) == list(range(50))
    assert [n for n in heard if n % 2] == list(range(1, 50, 2))
    assert [n for n in heard if not n % 2] == list(range(0, 50, 2))


async def test_nothing_is_taken_for_dead_with_300_ms_of_delay(
    world: World, network: Gateways, processes: dict[str, MoorageProcess]
) -> None:
    before = gaps(processes)
    network.delay(LONG_DELAY, JITTER)
    try:
        for number in range(20):
            await world.eu.sio.emit("n", number)
            acks = await world.us.moorage.emit_with_acks("all", "x", timeout=5.0)
            assert (len(acks.answers), acks.missing) == (4, ())
        assert [nodes_of(process) for process in processes.values()] == [4] * 4
        assert gaps(processes) == before
    finally:
        network.delay(DELAY)


@pytest.mark.parametrize("lose", [Gateways.cut, Gateways.silence], ids=["broken lines", "silent lines"])
async def test_regions_go_on_alone_without_gateways_and_join_again(
    world: World, network: Gateways, processes: dict[str, MoorageProcess], lose: Callable[[Gateways], None]
) -> None:
    lose(network)
    try:
        cut = time.perf_counter()
        for number in range(20):
            # Nobody waits for the others, not even before they are known to be gone, which takes 2 s or more.
            assert await took(world.eu.sio.enter_room(world.sids["eu-1"], f"alone{number}")) < 1.8
        await world.eu.sio.emit("alone", room="alone19")
        assert await world.clients["eu-1"].next() == ("alone",)
        expected = {"eu-1": 2, "eu-2": 2, "us-1": 1, "ap-1": 1}
        await eventually(lambda: {name: nodes_of(each) for name, each in processes.items()} == expected)
        print(f"gone after {time.perf_counter() - cut:.1f} s")
        # Its app server is out of reach.
        ended = await world.clients["ap-1"].next()
        assert ended[0] == "disconnect"
        for name in ("eu-1", "eu-2", "us-1"):
            assert world.clients[name].sio.connected
    finally:
        network.heal()
    healed = time.perf_counter()
    await eventually(lambda: [nodes_of(each) for each in processes.values()] == [4] * 4)
    print(f"together again after {time.perf_counter() - healed:.1f} s")
    await world.connect("ap-1")
    await world.known()
    found = await world.us.moorage.fetch_sockets(timeout=20.0)
    assert {socket.id for socket in found} == set(world.sids.values())
    await world.us.sio.emit("together")
    for client in world.clients.values():
        assert await client.next() == ("together",)


async def test_a_gateway_that_fails_in_one_direction(
    world: World, network: Gateways, processes: dict[str, MoorageProcess]
) -> None:
    # Everything from the region arrives, and nothing gets there.
    network.ways["us"].silent = True
    try:
        expected = {"eu-1": 3, "eu-2": 3, "us-1": 1, "ap-1": 3}
        await eventually(lambda: {name: nodes_of(each) for name, each in processes.items()} == expected)
    finally:
        network.heal()
    await eventually(lambda: [nodes_of(each) for each in processes.values()] == [4] * 4)
    if not world.clients["ap-1"].sio.connected:
        # The app server that it had was in the other region.
        await world.connect("ap-1")
    await world.known()
    await world.us.sio.emit("together")
    for client in world.clients.values():
        assert await client.next() == ("together",)
