"""All links of one app server in the azure dialect end at one of two real nodes, whichever node each reaches
first."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.integration.test_nodes import until
from tests.support.app_link import AppServer
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = pytest.mark.timeout(120)
_hubs = itertools.count(1)


@pytest.fixture(scope="module", params=["relay", "pass"])
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[MoorageProcess]]:
    folder = {"MOORAGE_RUN_DIR": str(tmp_path_factory.mktemp("run"))} if request.param == "pass" else None
    with two_nodes(env=folder, each=lambda number: (f"--set=cluster.sid_prefix=n{number}",)) as started:
        yield started


@pytest.fixture
def hub() -> str:
    return f"tunnels_{next(_hubs)}"


def tunnels(node: MoorageProcess, hub: str) -> int:
    """The number of links of the hub's app servers at a node."""
    return int(node.metric(f'moorage_tunnel_connections{{dialect="azure",hub="{hub}"}}'))


def known(node: MoorageProcess, hub: str, count: int = 1) -> bool:
    """True if the node knows so many app servers of other nodes."""
    return int(node.metric(f'moorage_cluster_app_servers{{hub="{hub}"}}')) == count


async def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait in a thread until `check` is true."""
    await asyncio.to_thread(until, check, what)


async def client(node: MoorageProcess, hub: str) -> WebSocket:
    """A client of a node with a socket in `/`."""
    socket = await WebSocket.session(node.url, clients(hub))
    await socket.send("40")
    assert (await socket.text()).startswith("40")
    return socket


async def echoed(socket: WebSocket, word: str) -> None:
    """The app server answers the client."""
    packet = f'42["{word}"]'
    await socket.send(packet)
    assert await socket.text() == packet


async def test_a_second_link_goes_to_the_node_that_has_the_first(
    nodes: list[MoorageProcess], hub: str
) -> None:
    first, second = nodes
    async with AppServer(first, hub) as app:
        await eventually(lambda: known(second, hub), "the app server is announced")
        async with AppServer(second, hub, app.server_id, 1000):
            assert (tunnels(first, hub), tunnels(second, hub)) == (2, 0)
            async with await client(first, hub) as one, await client(second, hub) as two:
                for word in ("a", "b"):
                    await echoed(one, word)
                    await echoed(two, word)


async def test_an_app_server_that_comes_back_through_another_node_keeps_its_clients(
    nodes: list[MoorageProcess], hub: str
) -> None:
    first, second = nodes
    app = AppServer(first, hub)
    await app.dial()
    await eventually(lambda: known(second, hub), "the app server is announced")
    async with await client(first, hub) as one, await client(second, hub) as two:
        await app.hang_up()
        await eventually(lambda: known(second, hub, 0), "the link's end is announced")
        async with AppServer(second, hub, app.server_id, 1000):
            assert (tunnels(first, hub), tunnels(second, hub)) == (1, 0)
            await echoed(one, "a")
            await echoed(two, "b")


async def test_two_first_links_at_the_same_moment_end_at_one_node(
    nodes: list[MoorageProcess], hub: str
) -> None:
    server_id = secrets.token_hex(8)
    apps = [AppServer(node, hub, server_id, 1000 * at) for at, node in enumerate(nodes)]
    await asyncio.gather(*(app.dial() for app in apps))
    # Either the second was handed over, or one node closes its link, and the app server dials again.
    async with asyncio.timeout(30):
        while sorted(tunnels(node, hub) for node in nodes) != [0, 2]:
            for app in apps:
                if app.socket.close_code is not None:
                    await app.dial()
            await asyncio.sleep(0.05)  # between two looks, not instead of them
    for node in nodes:
        async with await client(node, hub) as socket:
            await echoed(socket, "a")
    for app in apps:
        await app.hang_up()
