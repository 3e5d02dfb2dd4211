"""The list of nodes, as one of them gives it."""

from __future__ import annotations

from msgspec.structs import replace

from moorage.cluster.forwarding.listing import nodes
from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.router import Router
from moorage.wire.cluster.messages import Alive
from tests.cluster.nodes import NodeWorld


def test_a_node_alone_lists_itself() -> None:
    world = NodeWorld()
    router = Router(world.node, MemoryNetwork().broker("n"), "n")
    world.server("s")
    (found,) = nodes(router, world.node, "n", Alive("name", region="r", state="ready", release="1"))
    assert (found.name, found.incarnation, found.region, found.state) == ("name", "n", "r", "ready")
    assert (found.heartbeat_age, found.version) == (0.0, "1")
    assert [(app.id, app.up, app.clients) for app in found.app_servers] == [("s", True, 0)]


def test_the_other_node_is_as_its_last_heartbeat_told() -> None:
    network = MemoryNetwork()
    worlds = [NodeWorld(), NodeWorld()]
    routers = []
    clients = 0
    for name, world in zip(("n0", "n1"), worlds, strict=True):
        world.incarnation = name
        router = Router(world.node, network.broker(name), name)
        router.start()
        router.join(Alive(f"name {name}"), lambda beat: replace(beat, clients=clients, state="ready"))
        routers.append(router)
    worlds[1].server("s")

    def passes(seconds: float) -> None:
        for world in worlds:
            world.now += seconds
        for _ in range(6):
            for router, world in zip(routers, worlds, strict=True):
                router.tick(world.now)
                world.settle()
            network.run()

    passes(0.1)
    clients = 7
    passes(1.0)
    first, second = nodes(routers[0], worlds[0].node, "n0", Alive("name n0"))
    assert (first.name, first.clients, first.app_servers) == ("name n0", 0, [])
    assert (second.name, second.clients, second.state, second.heartbeat_age) == ("name n1", 7, "ready", 0.0)
    assert [app.id for app in second.app_servers] == ["s"]
    worlds[0].now += 0.5
    assert nodes(routers[0], worlds[0].node, "n0", Alive("name n0"))[1].heartbeat_age == 0.5
    routers[1].stop()
    network.run()
    worlds[0].settle()
    assert len(nodes(routers[0], worlds[0].node, "n0", Alive("name n0"))) == 1
