"""A machine whose network fails, in a network namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import heard, nats_cluster, until
from tests.scenarios.network import Network
from tests.scenarios.scene import OURS, Scene, sdks
from tests.support.nats_server import NatsServer

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@sdks()
def test_a_node_is_cut_off_and_connected_again(sdk: str, network: Network) -> None:
    address = network.add("two")
    with Scene([NatsServer(host=network.gate)]) as scene:
        nodes = [scene.launch("one"), scene.launch("three")]
        nodes.append(scene.launch("two", host=address, inside=network.inside("two")))
        for node in nodes:
            node.__enter__()
        scene.together()
        scene.app(sdk, "one")
        scene.known(1)
        scene.connect(24)
        scene.flow()
        network.cut("two")
        seconds = until(
            lambda: heard(scene.nodes["one"]) == heard(scene.nodes["three"]) == 2, "it is dropped"
        )
        assert seconds < 6
        scene.flow("one", "three")
        network.mend("two")
        scene.together()
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed("one", "three")
        if sdk == "azure":
            ledger.came_back("two")
            table.check(
                "A node is cut off and connected again; its clients are forwarded",
                ledger,
                "the other nodes drop it within 6 s; app servers get `transport close` for its clients",
            )
        else:
            table.check(
                "A node is cut off for some seconds and connected again; its clients are covered",
                ledger,
                "the other nodes drop it within 6 s; its clients and sessions go on when it is back, but a "
                "polling client may give up at a request that fails",
                some_end=True,
            )


@sdks()
def test_a_node_starts_inside_a_partition(sdk: str, network: Network) -> None:
    address = network.add("two")
    inside = network.inside("two")
    with Scene(nats_cluster((network.gate, ()), (address, inside))) as scene:
        scene.started(sdk, nodes=["one"], clients=8)
        network.cut("two")
        node = scene.launch("two", host=address, inside=inside)
        node.__enter__()
        node.wait_record(event="ready")
        scene.app(sdk, "two", inside=inside)
        assert heard(scene.nodes["one"]) == 1
        assert not any("node joined" in line for line in node.lines)
        network.mend("two")
        scene.together()
        scene.known(2)
        scene.connect(16, "two", "one")
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "A node and an app server start inside a partition, which heals",
            ledger,
            "the node is alone until the partition heals; then all hear each other",
        )


@sdks(among=OURS)
def test_an_app_server_loses_the_way_to_one_node(sdk: str, network: Network) -> None:
    address = network.add("two")
    network.add("app")
    with Scene([NatsServer(host=network.gate)]) as scene:
        nodes = [scene.launch("one", host=network.gate)]
        nodes.append(scene.launch("two", host=address, inside=network.inside("two")))
        for node in nodes:
            node.__enter__()
        scene.together()
        scene.app(sdk, "one", inside=network.inside("app"))
        scene.known(1)
        scene.connect(12)
        scene.flow()
        network.part("two", "app")
        until(lambda: all(state["ends"] for state in scene.states("two")), "the session at that node is over")
        scene.all_connected()
        lost = [state["name"] for state in scene.states("two")]
        scene.connect(4, "two")
        assert [state["at"] for state in scene.states("two")[-4:]] == [0, 0, 0, 0]
        assert scene.nodes["two"].metric('moorage_cluster_forwarded_total{direction="to_app_server"}') > 0
        scene.flow()
        network.join("two", "app")
        scene.flow()
        ledger = scene.finish()
        assert sorted(client["name"] for client in ledger.ended) == sorted(lost)
        assert all(client["connects"] >= 2 for client in ledger.ended)
        table.check(
            "An app server loses the way to one node, which the other nodes reach",
            ledger,
            "the clients there are closed after the grace time, and then forwarded",
        )


@sdks()
def test_a_cluster_is_divided_in_two(sdk: str, network: Network) -> None:
    address = network.add("two")
    inside = network.inside("two")
    with Scene(nats_cluster((network.gate, ()), (address, inside))) as scene:
        for node in (
            scene.launch("one", host=network.gate),
            scene.launch("two", host=address, inside=inside),
        ):
            node.__enter__()
        scene.together()
        scene.app(sdk, "one")
        scene.app(sdk, "two", inside=inside)
        scene.known(2)
        scene.connect(16)
        scene.flow()
        network.cut("two")
        until(lambda: heard(scene.nodes["one"]) == 1, "each node is alone")
        if sdk == "azure":
            # Our SDKs may serve these clients from the other half, whose app server covers this one too.
            scene.flow("one", news=False)
        network.mend("two")
        scene.together()
        scene.known(2)
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        if sdk == "azure":
            ledger.undisturbed("one")
            assert any(ledger.missed(one, label) for one in ledger.of("one") for label in one["news"])
            table.check(
                "A cluster is divided in two and heals; each half has a NATS server and its own app server",
                ledger,
                "each half goes on alone. What was emitted in one half does not reach the other later. A "
                "polling client that is cut off from its node may give up at a request that fails",
                some_end=True,
            )
        else:
            table.check(
                "A cluster is divided in two for some seconds and heals; app servers cover both halves",
                ledger,
                "each half goes on alone; what is emitted for the other half waits for the links",
                some_end=True,
            )
