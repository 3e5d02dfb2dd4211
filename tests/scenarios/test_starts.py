"""Nodes that start."""

from __future__ import annotations

import pytest

from tests.scenarios import table
from tests.scenarios.scene import Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]


@sdks()
def test_two_nodes_start_at_the_same_moment(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=["one"], clients=8)
        scene.start("two", "three")
        scene.known(1)
        scene.connect(16, "two", "three")
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "Two nodes start at the same moment",
            ledger,
            "both are ready once all hear each other",
        )


@sdks()
def test_two_nodes_have_one_name(sdk: str) -> None:
    with Scene() as scene:
        for node in [scene.launch("one"), scene.launch("two", shown="one")]:
            node.__enter__()
        scene.together()
        for node in scene.nodes.values():
            node.wait_line(lambda line: "two nodes have one name" in line)
        scene.app(sdk, "one")
        scene.known(1)
        scene.connect(16)
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "Two nodes have one name",
            ledger,
            "each logs a warning; only people are confused",
        )
