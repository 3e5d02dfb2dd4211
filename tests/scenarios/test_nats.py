"""NATS servers that end."""

from __future__ import annotations

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import ready, until
from tests.scenarios.scene import Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]
NODES = ["one", "two", "three"]


@sdks(quick="azure")
def test_the_nats_server_of_a_node_is_killed(sdk: str) -> None:
    with Scene(nats=3) as scene:
        scene.started(sdk, nodes=NODES)
        scene.nats[1].end()
        scene.nodes["two"].wait_line(lambda line: "NATS" in line and "lost" in line)
        scene.together()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "The NATS server that a node uses is killed; two others are there",
            ledger,
            "the node logs it and goes to another server",
        )


@sdks()
def test_all_nats_servers_are_killed_and_come_back(sdk: str) -> None:
    with Scene(nats=3) as scene:
        scene.started(sdk, nodes=NODES)
        for server in scene.nats:
            server.end()
        until(lambda: {ready(node) for node in scene.nodes.values()} == {"no-nats"}, "no NATS")
        until(lambda: scene.counts("nodes") == {1}, "each node is alone")
        scene.flow("one")
        if sdk != "azure":
            scene.flow()
        for server in scene.nats:
            server.start()
        scene.together()
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed("one")
        if sdk == "azure":
            ledger.came_back("two", "three")
            table.check(
                "All NATS servers are killed and come back; clients are forwarded",
                ledger,
                "`/readyz` says `no-nats`; after 3 s the nodes drop each other and end the forwarded "
                "clients, which come back at the node of an app server",
            )
        else:
            ledger.undisturbed()
            table.check(
                "All NATS servers are killed and come back; clients are covered",
                ledger,
                "`/readyz` says `no-nats` until they are back",
            )
