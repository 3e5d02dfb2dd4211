"""A node that is killed."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import heard, until
from tests.scenarios.scene import Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]

LATE = 6.0
"""Seconds. Without load it takes about three."""


@sdks(quick="python")
def test_a_node_is_killed(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=["one", "two", "three"])
        scene.nodes["two"].signal(signal.SIGKILL)
        others = ["one", "three"]
        seconds = until(lambda: all(heard(scene.nodes[name]) == 2 for name in others), "it is gone")
        assert seconds < LATE
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed(*others)
        ledger.came_back("two")
        assert ledger.reasons()["transport close"] == 8
        table.check(
            "A node is killed (`kill -9`)",
            ledger,
            "the other nodes drop it after three seconds, six at most; app servers get `transport close` "
            "for its clients",
        )
