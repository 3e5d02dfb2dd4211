"""Nodes that are killed."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios import table
from tests.scenarios.cluster import heard, until
from tests.scenarios.scene import OURS, Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]

LATE = 10.0
"""Seconds. Without load it takes about three, and six at most; a busy machine is later."""


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


@sdks(among=OURS)
def test_the_home_of_an_app_server_is_killed(sdk: str) -> None:
    with Scene() as scene:
        scene.start("one", "two")
        scene.start("far", advertise=False)
        scene.app(sdk, "one")
        scene.app(sdk, "two")
        scene.known(2)
        scene.connect(24)
        scene.flow()
        scene.nodes["one"].signal(signal.SIGKILL)
        others = ["two", "far"]
        until(lambda: all(heard(scene.nodes[name]) == 2 for name in others), "it is gone")
        scene.all_connected()
        scene.flow()
        ledger = scene.finish()
        ledger.came_back("one")
        ledger.undisturbed("two")
        table.check(
            "The node through which an app server serves the clients of a further node is killed",
            ledger,
            "the forwarded clients may be closed as `app-lost`, and come back through another node",
            some_end=True,
        )


@sdks()
def test_a_node_is_killed_and_starts_again_several_times(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, nodes=["one", "two"], clients=16)
        for _ in range(3):
            scene.nodes.pop("two").kill()
            scene.all_connected()
            scene.start("two")
            scene.known(1)
            scene.connect(2, "two")
            scene.flow()
        ledger = scene.finish()
        ledger.undisturbed("one")
        table.check(
            "A node is killed and starts again at once, three times",
            ledger,
            "each time the same as when it is killed once",
        )
