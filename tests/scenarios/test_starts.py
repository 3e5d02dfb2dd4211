"""Nodes that start."""

from __future__ import annotations

import json

import pytest

from tests.scenarios import table
from tests.scenarios.scene import Scene, sdks
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]


def joined_before_ready(node: MoorageProcess) -> int:
    """How many nodes it had heard when it became ready."""
    node.wait_record(event="ready")
    events = [json.loads(line)["event"] for line in node.lines if line.startswith("{")]
    return events[: events.index("ready")].count("node joined")


@sdks()
def test_two_nodes_start_at_the_same_moment(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=["one"], clients=8)
        scene.start("two", "three")
        heard = [joined_before_ready(scene.nodes[name]) for name in ("two", "three")]
        # The one that started a moment later, at least, was not ready before it heard both others.
        assert (min(heard), max(heard)) in ((1, 2), (2, 2))
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
