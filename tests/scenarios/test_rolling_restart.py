"""All nodes are restarted, one after the other, while events flow."""

from __future__ import annotations

import pytest

from tests.scenarios import table
from tests.scenarios.scene import Scene

pytestmark = [pytest.mark.timeout(300), pytest.mark.node, pytest.mark.slow]
NODES = ["one", "two", "three"]
CLIENTS = 48
RATE = 16
"""Clients that a node closes in a second. A third of the clients takes one second, then."""


@pytest.mark.parametrize("sdks", [("node", "python"), ("azure", "azure")], ids="-".join)
def test_all_nodes_are_restarted(sdks: tuple[str, ...]) -> None:
    with Scene() as scene:
        scene.start(*NODES, settings=(f"shutdown.rate={RATE}", "shutdown.lb_wait=3s"))
        for sdk, at in zip(sdks, NODES, strict=False):
            scene.app(sdk, at)
        scene.known(len(sdks))
        scene.connect(CLIENTS)
        scene.flow()
        for name in NODES:
            scene.drain(name, seen=True)
            scene.all_connected()
            scene.again(name)
            scene.all_connected()
            scene.flow()
        ledger = scene.finish()
        ledger.came_back(*NODES)
        if "azure" in sdks:
            table.check(
                "All nodes are restarted, one after the other (`moorage drain`); app servers use Azure's SDK",
                ledger,
                "as with our SDKs, and the app servers have no link while their node restarts: what Azure's "
                "SDK sends then arrives later, in any order",
                in_order=False,
            )
        else:
            table.check(
                "All nodes are restarted, one after the other (`moorage drain`)",
                ledger,
                "a draining node is not ready; its clients come back at the others",
            )
