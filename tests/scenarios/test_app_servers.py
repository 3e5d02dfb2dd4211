"""App servers that fail."""

from __future__ import annotations

import signal

import pytest

from tests.conformance.program import Refused
from tests.scenarios import table
from tests.scenarios.cluster import until
from tests.scenarios.scene import OURS, App, Scene, sdks

pytestmark = [pytest.mark.timeout(240), pytest.mark.node]


def restart(scene: Scene, sdk: str, server_id: str = "") -> App:
    """Kill the first app server, and start another one as soon as the nodes know that its links are gone.
    Until then its id is taken."""
    victim = scene.apps[0]
    victim.signal(signal.SIGKILL)
    until(lambda: not victim.is_alive, "it is killed")
    links = f'moorage_tunnel_connections{{dialect="moorage",hub="{scene.hub}"}}'
    until(lambda: all(node.metric(links) == 0 for node in scene.nodes.values()), "its links are gone")
    return scene.app(sdk, "one", server_id)


@sdks()
def test_an_app_server_is_killed(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, sdk, nodes=["one", "two"])
        victim, other = scene.apps
        victim.signal(signal.SIGKILL)
        until(lambda: not victim.is_alive, "it is killed")
        until(lambda: scene.served_by(other) == 24, "its clients are at the other one")
        scene.flow()
        ledger = scene.finish()
        served = {name for app, name in ledger.served if app == victim.label}
        assert {client["name"] for client in ledger.ended} == served
        table.check(
            "An app server is killed (`kill -9`)",
            ledger,
            "its clients are closed after the grace time and come back at other app servers",
        )


@sdks(among=OURS, quick="node")
def test_an_app_server_is_restarted_with_its_id(sdk: str) -> None:
    with Scene() as scene:
        scene.start("one", "two")
        scene.app(sdk, "one", "server-1")
        scene.known(1)
        scene.connect(24)
        scene.flow()
        again = restart(scene, sdk, "server-1")
        until(lambda: scene.served_by(again) == 24, "its clients are back")
        scene.flow()
        ledger = scene.finish()
        ledger.came_back("one", "two")
        table.check(
            "The only app server is killed and starts again with the same server id",
            ledger,
            "its clients are closed and come back to the new process",
        )


# Azure's SDK notices a dead link after two minutes, and then repeats emits in another order.
@sdks(among=OURS)
def test_an_app_server_is_frozen(sdk: str) -> None:
    with Scene() as scene:
        scene.started(sdk, sdk, nodes=["one", "two"])
        frozen, other = scene.apps
        frozen.signal(signal.SIGSTOP)
        served = scene.served_by(other)
        until(lambda: scene.served_by(other) == 24, "its clients are at the other one")
        frozen.signal(signal.SIGCONT)
        scene.flow()
        ledger = scene.finish()
        assert len(ledger.stayed) >= served
        table.check(
            "An app server is frozen (SIGSTOP, SIGCONT)",
            ledger,
            "its clients are closed and come back at other app servers; it gets their ends when it goes on",
        )


@sdks(among=OURS)
def test_two_processes_with_one_server_id(sdk: str) -> None:
    with Scene() as scene:
        scene.start("one", "two")
        scene.app(sdk, "one", "server-1")
        scene.known(1)
        scene.connect(12)
        scene.flow()
        with pytest.raises(Refused, match="link-server-taken"):
            scene.app(sdk, "two", "server-1")
        scene.apps.pop().kill()
        scene.flow()
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "Two processes have one server id",
            ledger,
            "the second is refused with `link-server-taken`",
        )


@sdks()
def test_an_app_server_reaches_only_some_nodes(sdk: str) -> None:
    with Scene() as scene:
        scene.start("one", "two")
        scene.start("far", advertise=False)
        scene.app(sdk, "one")
        scene.known(1)
        scene.connect(24)
        scene.flow(rounds=20)
        forwarded = 'moorage_cluster_forwarded_total{direction="to_app_server"}'
        assert scene.nodes["far"].metric(forwarded) > 0
        ledger = scene.finish()
        ledger.undisturbed()
        table.check(
            "An app server reaches only some of the nodes",
            ledger,
            "nothing: the clients of the other nodes are forwarded",
        )
