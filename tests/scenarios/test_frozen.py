"""Nodes that stand still for a while, as a machine does that swaps or is moved."""

from __future__ import annotations

import signal
import time

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import heard, until
from tests.scenarios.scene import OURS, Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]
LEASE = 3.0
"""Seconds after which a node that is silent is dropped."""
NODES = ["one", "two", "three"]


@sdks()
def test_a_node_is_frozen_within_its_lease(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=NODES)
        frozen = scene.nodes["two"]
        for _ in range(5):
            begun = time.monotonic()
            frozen.signal(signal.SIGSTOP)
            scene.flow("one", "three", rounds=1)
            assert {heard(scene.nodes[name]) for name in ("one", "three")} == {3}
            frozen.signal(signal.SIGCONT)
            if time.monotonic() - begun > LEASE - 1:
                pytest.skip("this machine is too slow to freeze a node for a short time")
            scene.flow(rounds=1)
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "A node is frozen for less than its lease, several times (SIGSTOP, SIGCONT)",
            ledger,
            "nothing: the other nodes keep it on their list",
        )


@sdks()
def test_a_node_is_frozen_past_its_lease(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=NODES)
        frozen, others = scene.nodes["two"], ("one", "three")
        frozen.signal(signal.SIGSTOP)
        seconds = until(lambda: all(heard(scene.nodes[name]) == 2 for name in others), "it is dropped")
        assert seconds < 2 * LEASE
        scene.flow(*others)
        frozen.signal(signal.SIGCONT)
        scene.together()
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed(*others)
        if sdk == "azure":
            ledger.came_back("two")
            table.check(
                "A node is frozen past its lease, and its clients are forwarded",
                ledger,
                "the other nodes drop it within 6 s; app servers get `transport close` for its clients, "
                "and the node closes them when it goes on",
            )
        else:
            ledger.undisturbed()
            table.check(
                "A node is frozen past its lease, and its clients are covered",
                ledger,
                "the other nodes drop it within 6 s; its clients and its sessions wait for it",
            )


@sdks(among=OURS)
def test_a_node_is_frozen_until_its_links_end(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=NODES)
        frozen = scene.nodes["two"]
        frozen.signal(signal.SIGSTOP)
        until(lambda: scene.served_by(scene.apps[0]) == 16, "the app server gives up its clients")
        scene.flow("one", "three")
        frozen.signal(signal.SIGCONT)
        scene.together()
        until(lambda: all(state["ends"] for state in scene.states("two")), "its clients are closed")
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed("one", "three")
        ledger.came_back("two")
        table.check(
            "A node is frozen until the links to it are silent for too long; its clients are covered",
            ledger,
            "app servers give up its clients, and the node closes them when it goes on",
        )
