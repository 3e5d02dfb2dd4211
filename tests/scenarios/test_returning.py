"""Clients in a bad network, behind a proxy that sends each connection to the next node."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.wire.groups import room_group
from tests.conformance.program import ROOT, Line, Program
from tests.scenarios.cluster import Cluster, heard, until
from tests.support.nats_server import NatsServer
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]

SCENARIO = pytest.mark.scenario
PROGRAM = ROOT / "tests" / "scenarios" / "programs" / "returning.mjs"
CLIENTS = 24
FAST = {"transports": ["websocket"], "reconnectionDelay": 100, "reconnectionDelayMax": 400}


class Returning:
    """A cluster of three nodes, and the program with the app server and the clients."""

    def __init__(self, cluster: Cluster, program: Program) -> None:
        self.cluster = cluster
        self.program = program

    def route(self, *names: str) -> None:
        """New connections go to these nodes in turn."""
        self.program.call("route", ports=[port_of(self.cluster.nodes[name]) for name in names])

    def connect(self, **options: Any) -> None:
        before = self.state()
        self.program.call("connect", count=CLIENTS, options=FAST | options)
        for what in ("connected", "joined"):
            until(lambda what=what: self.state()[what] == before[what] + CLIENTS, f"all are {what}")  # type: ignore[misc]

    def state(self) -> Line:
        state: Line = self.program.call("state")
        return state

    def cut(self, part: float = 1.0) -> None:
        """Break the connections of a part of the clients, and wait until they are back."""
        self.program.call("cut", part=part)
        until(lambda: self.state()["connected"] == CLIENTS, "all are back")

    def finish(self) -> list[Line]:
        """What each client has got, once all have got everything."""
        until(lambda: self.state()["emitted"] > 20, "some events are emitted")
        self.program.call("hush")
        until(lambda: self.state()["behind"] == 0, "all have got the last event")
        found: list[Line] = self.program.call("result")
        return found

    def fresh(self) -> list[int]:
        """How many sockets each client has had."""
        return [client["fresh"] for client in self.program.call("result")]

    def refused(self) -> dict[str, float]:
        """Causes of refusals at all nodes."""
        causes = ("unknown", "foreign", "offset", "dropped", "unsaved", "unsupported", "unreached", "lost")
        return {
            cause: count
            for cause in causes
            if (count := sum(self._count(node, cause) for node in self.cluster.nodes.values()))
        }

    @staticmethod
    def _count(node: MoorageProcess, cause: str) -> float:
        return node.metric(f'moorage_recovery_refused_total{{cause="{cause}"}}')


def port_of(node: MoorageProcess) -> int:
    return int(node.url.rpartition(":")[2])


@contextmanager
def returning(
    *names: str, quiet: bool = False, covered: bool = True, store: Path | None = None
) -> Iterator[Returning]:
    """`covered`: the app server reaches all nodes. Otherwise clients of all but the first are forwarded.
    `store`: where JetStream keeps what the nodes store."""
    nats = [NatsServer()] if store is None else [NatsServer("-js", "-sd", str(store))]
    settings = () if store is None else ("recovery.store=jetstream",)
    with Cluster(nats) as cluster:
        cluster.start(*names, advertise=covered, settings=settings)
        program = Program("returning", ["node", str(PROGRAM)])
        try:
            options = {"hub": "app", "connectionString": cluster.nodes[names[0]].connection_string}
            program.call("start", options=options, duration=60_000, quiet=quiet)
            found = Returning(cluster, program)
            found.route(*names)
            metric = "moorage_app_servers" if covered else "moorage_cluster_app_servers"
            nodes = [cluster.nodes[name] for name in (names if covered else names[1:])]
            until(
                lambda: all(node.metric(f'{metric}{{hub="app"}}') for node in nodes),
                "all nodes have the app server",
            )
            yield found
        finally:
            program.kill()


def once_and_in_order(clients: list[Line]) -> None:
    assert [client["wrong"] for client in clients] == [0] * CLIENTS


@pytest.mark.parametrize(
    "transports",
    [pytest.param(["websocket"], id="websocket"), pytest.param(["polling"], id="polling", marks=SCENARIO)],
)
def test_clients_come_back_at_other_nodes_and_miss_nothing(transports: list[str]) -> None:
    with returning("one", "two", "three") as scene:
        scene.connect(transports=transports)
        scene.program.call("emit", every=20)
        for _ in range(5):
            scene.cut(0.7)
        scene.cut()
        clients = scene.finish()
        assert scene.refused() == {}
        once_and_in_order(clients)
        assert [client["fresh"] for client in clients] == [1] * CLIENTS
        moved = sum(node.metric("moorage_recovery_moved_total") for node in scene.cluster.nodes.values())
        assert moved > CLIENTS // 3


@SCENARIO
def test_clients_of_nodes_without_their_app_server_come_back_and_miss_nothing() -> None:
    with returning("one", "two", "three", covered=False) as scene:
        scene.route("two", "three")
        scene.connect()
        scene.program.call("emit", every=20)
        for _ in range(3):
            scene.cut(0.7)
        scene.cut()
        clients = scene.finish()
        assert scene.refused() == {}
        once_and_in_order(clients)
        assert [client["fresh"] for client in clients] == [1] * CLIENTS
        forwarded = 'moorage_cluster_forwarded_total{direction="to_app_server"}'
        assert all(scene.cluster.nodes[name].metric(forwarded) for name in ("two", "three"))


@SCENARIO
def test_quiet_recovery_and_returns_at_other_nodes() -> None:
    with returning("one", "two", "three", quiet=True) as scene:
        scene.connect()
        scene.program.call("emit", every=20)
        for _ in range(5):
            scene.cut(0.7)
        clients = scene.finish()
        assert scene.refused() == {}
        once_and_in_order(clients)
        assert [client["fresh"] for client in clients] == [1] * CLIENTS
        # At its own node a client comes back without a word to the app; at others the app is told.
        resumed = sum(client["resumed"] for client in clients)
        assert CLIENTS < scene.state()["connections"] < CLIENTS + resumed


@SCENARIO
def test_sockets_survive_the_drain_of_their_node() -> None:
    with returning("one", "two", "three") as scene:
        scene.connect()
        scene.program.call("emit", every=20)
        scene.program.call("route", ports=[])
        scene.cluster.drain("two")
        names = ("one", "three")
        scene.cluster.nodes.pop("two")
        scene.route(*names)
        until(lambda: scene.state()["connected"] == CLIENTS, "all are back")
        clients = scene.finish()
        assert scene.refused() == {}
        once_and_in_order(clients)
        assert [client["fresh"] for client in clients] == [1] * CLIENTS
        assert sum(client["resumed"] for client in clients) == CLIENTS // 3


@SCENARIO
def test_sockets_of_a_node_that_is_killed_are_new_ones_and_counted() -> None:
    with returning("one", "two", "three") as scene:
        scene.connect()
        scene.program.call("route", ports=[])
        scene.cluster.nodes.pop("two").signal(signal.SIGKILL)
        until(lambda: all(heard(node) == 2 for node in scene.cluster.nodes.values()), "it is gone")
        scene.route("one", "three")
        until(lambda: scene.state()["connected"] == CLIENTS, "all are back")
        scene.program.call("emit", every=20)
        clients = scene.finish()
        once_and_in_order(clients)
        assert sorted(client["fresh"] for client in clients) == [1] * 16 + [2] * 8
        assert scene.refused() == {"lost": 8.0}


@pytest.mark.slow
def test_clients_are_away_while_two_nodes_are_killed_one_after_the_other(tmp_path: Path) -> None:
    with returning("one", "two", "three", store=tmp_path) as scene:
        nodes = scene.cluster.nodes
        scene.route("one")
        scene.connect()
        scene.program.call("emit", every=20)
        until(lambda: scene.state()["received"] > 10 * CLIENTS, "all have got some events")
        scene.route()
        killed = "one"
        metric = "moorage_recovery_inherited_total"
        while len(nodes) > 1:
            nodes.pop(killed).signal(signal.SIGKILL)
            until(lambda: sum(node.metric(metric) for node in nodes.values()) == CLIENTS, "a node has them")
            (killed,) = (name for name, node in nodes.items() if node.metric(metric))
            emitted = scene.state()["emitted"]
            # Two nodes that are lost within four seconds are lost together.
            until(lambda emitted=emitted: scene.state()["emitted"] > emitted + 250, "time passes")  # type: ignore[misc]
        scene.route(*nodes)
        until(lambda: scene.state()["connected"] == CLIENTS, "all are back")
        clients = scene.finish()
        assert scene.refused() == {}
        once_and_in_order(clients)
        assert [(client["fresh"], client["resumed"]) for client in clients] == [(1, 1)] * CLIENTS


def rest(node: MoorageProcess, room: str, number: int) -> None:
    """A REST caller emits to a room."""
    group, event = room_group("/", room), f'42["news",{number}]'
    with WebPubSubServiceClient.from_connection_string(node.connection_string, hub="app") as service:
        service.send_to_group(group, event, content_type="text/plain")


@SCENARIO
def test_emits_that_are_lost_between_nodes_leave_no_silent_hole() -> None:
    with returning("one", "two") as scene:
        one, two = scene.cluster.nodes["one"], scene.cluster.nodes["two"]
        scene.route("one")
        scene.connect(auth={"room": "inside"})
        scene.route("two")
        scene.connect(auth={"room": "inside"})
        scene.connect(auth={"room": "outside"})
        rest(one, "inside", 1)
        until(lambda: scene.state()["received"] == 2 * CLIENTS, "it arrives everywhere")
        (nats,) = scene.cluster.nats
        nats.end()
        until(lambda: heard(one) == heard(two) == 1, "each node is alone")
        rest(one, "inside", 2)
        until(lambda: scene.state()["received"] == 3 * CLIENTS, "it arrives at one node")
        nats.start()
        scene.cluster.together()
        until(lambda: two.metric("moorage_recovery_incomplete_total") == CLIENTS, "these sockets end")
        # The clients hear of their end later than the node counts it.
        until(lambda: sum(scene.fresh()) == 4 * CLIENTS, "they have new sockets")
        until(lambda: scene.state()["joined"] == 4 * CLIENTS, "these are in their rooms")
        assert scene.fresh() == [1] * CLIENTS + [2] * CLIENTS + [1] * CLIENTS
        assert one.metric("moorage_recovery_incomplete_total") == 0
        assert scene.refused() == {"dropped": CLIENTS}
        two.wait_line(lambda line: "may have missed events of another node" in line)
        rest(one, "inside", 3)
        until(lambda: scene.state()["received"] == 5 * CLIENTS, "it arrives everywhere")
