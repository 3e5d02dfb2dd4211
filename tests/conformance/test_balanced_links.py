"""Azure's published SDK and stock clients behind a balancer that gives each link to another node."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moorage.wire.ids import incarnation_of
from tests.conformance.apps import App
from tests.conformance.clients import Client, ClientProcess
from tests.conformance.proxy import Proxy
from tests.conformance.stage import Stage, fresh
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.timeout(180), pytest.mark.node]
SECONDS = 30.0


class Balanced:
    """Two nodes, one app server whose links go through `proxy`, and clients of the second node."""

    def __init__(self, stack: ExitStack, folder: Path | None) -> None:
        env = None if folder is None else {"MOORAGE_RUN_DIR": str(folder)}
        self.nodes = stack.enter_context(two_nodes(env=env))
        self.hub = fresh("balanced")
        self.proxy = stack.enter_context(Proxy(self.nodes[0]))
        app = App("azure")
        stack.callback(app.kill)
        app.link(self.proxy.connection_string, self.hub)
        self.clients = ClientProcess()
        stack.callback(self.clients.kill)
        self.until_known(self.nodes[1])
        self.stages = [
            stack.enter_context(Stage(node, self.hub, [app], self.clients, "websocket"))
            for node in self.nodes
        ]
        self.stages[1].ns = self.stages[0].ns
        self.stages[1].spaces = self.stages[0].spaces
        self.stages[0].define()
        for stage in self.stages:
            stage.unwanted -= {"link", "problem"}
        self.space = self.stages[0].space

    def until_known(self, node: MoorageProcess, count: int = 1) -> None:
        """Wait until the node knows so many app servers of the other one."""
        self.until(node, "moorage_cluster_app_servers", "", count)

    def tunnels(self, node: MoorageProcess, count: int) -> None:
        """Wait until the app server has so many links at the node."""
        self.until(node, "moorage_tunnel_connections", 'dialect="azure",', count)

    def until(self, node: MoorageProcess, name: str, labels: str, count: int) -> None:
        """Wait until a gauge of the hub has this value."""
        end = time.monotonic() + SECONDS
        while node.metric(f'{name}{{{labels}hub="{self.hub}"}}') != count:
            assert time.monotonic() < end, (name, count)
            time.sleep(0.05)  # between two looks, not instead of them

    def crew(self, **options: object) -> list[Client]:
        """A client at each node."""
        return [stage.client(**options) for stage in self.stages]

    def talk(self, crew: list[Client], words: int = 3) -> None:
        """Everybody hears everything, in order."""
        for client in crew:
            mark = fresh("mark")
            for number in range(words):
                client.emit(mark, number)
            assert self.space.events(client, mark, words) == [[number] for number in range(words)]
            self.space.join(client, "room")
        for target in ({}, {"to": ["room"]}):
            mark = fresh("mark")
            for number in range(words):
                self.space.emit(mark, number, **target)
            for client in crew:
                for number in range(words):
                    assert client.next(mark) == [number]


@pytest.fixture(params=["relay", "pass"])
def balanced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Balanced]:
    with ExitStack() as stack:
        yield Balanced(stack, tmp_path if request.param == "pass" else None)


def test_a_link_that_comes_back_through_the_other_node_keeps_its_clients(balanced: Balanced) -> None:
    first, second = balanced.nodes
    crew = balanced.crew()
    owners = {incarnation_of(client.connection) for client in crew}
    assert len(owners) == 2
    balanced.talk(crew)
    balanced.proxy.cut()
    balanced.proxy.target = second
    balanced.proxy.restore()
    balanced.tunnels(first, 1)
    balanced.tunnels(second, 0)
    balanced.talk(crew)
    for client in crew:
        assert balanced.clients.heard(notice="disconnect", client=client.number) == []


def test_the_node_of_the_links_dies_and_everything_comes_back_at_the_other(balanced: Balanced) -> None:
    first, second = balanced.nodes
    crew = balanced.crew(reconnection=True, reconnectionDelay=50, reconnectionDelayMax=500)
    balanced.talk(crew)
    balanced.proxy.target = second
    first.signal(signal.SIGKILL)
    balanced.tunnels(second, 1)
    client = crew[1]
    balanced.clients.wait_until(
        lambda: len(balanced.clients.heard(notice="connect", client=client.number)) >= 2, "it is back"
    )
    again = balanced.stages[1].client()
    mark = fresh("mark")
    balanced.space.emit(mark)
    for each in (client, again):
        assert each.next(mark) == []
