"""NATS servers that end."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import ready, until
from tests.scenarios.scene import Scene, sdks
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port

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


@sdks()
def test_a_nats_server_is_frozen(sdk: str) -> None:
    with Scene(nats=3) as scene:
        scene.started(sdk, nodes=NODES)
        scene.nats[1].pause()
        scene.nodes["two"].wait_line(lambda line: "NATS" in line and "lost" in line)
        scene.together()
        scene.all_connected()
        scene.flow()
        scene.nats[1].go_on()
        ledger = scene.finish()
        ledger.undisturbed("one", "three")
        table.check(
            "The NATS server that a node uses is frozen (SIGSTOP); two others are there",
            ledger,
            "the node gives it up",
            some_end=True,
        )


@sdks()
def test_nats_drops_a_node_that_reads_slowly(sdk: str, tmp_path: Path) -> None:
    # Room for a few emits: the nodes that only are slow on a busy machine are not dropped.
    (tmp_path / "nats.conf").write_text("max_payload: 65536\nmax_pending: 1048576\n")
    monitor = free_port()
    with Scene([NatsServer("-c", str(tmp_path / "nats.conf"), "-m", str(monitor))]) as scene:
        scene.start("one")
        scene.start("two", "three", advertise=False)
        scene.app(sdk, "one", size=200_000)
        scene.known(1)
        scene.connect(6)
        scene.flow(rounds=2)
        slow = scene.nodes["two"]
        slow.signal(signal.SIGSTOP)
        # As long as it takes and no longer: a node that stands still for seconds has lost its lease.
        until(lambda: _slow_consumers(monitor) > 0, "NATS drops the node")
        slow.signal(signal.SIGCONT)
        slow.wait_line(lambda line: "NATS" in line and "lost" in line)
        scene.together()
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        # On a busy machine the node may stand still until its lease is over, and its own clients end.
        ledger.undisturbed("one", "three")
        table.check(
            "NATS drops a node that reads too slowly",
            ledger,
            "the node logs it and connects again",
            some_end=True,
        )


def _slow_consumers(monitor: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/varz", timeout=10) as answer:
        count: int = json.load(answer)["slow_consumers"]
    return count
