"""A node keeps lists for operators only if they may look at it."""

from __future__ import annotations

from moorage.app.service import Service
from moorage.config.load import load
from moorage.hub.inspect.rooms import RoomIndex
from moorage.hub.observers import Observers
from tests.control.admin.serving import OPERATE, serving
from tests.integration.test_two_nodes import LiveNetwork


async def test_without_a_key_nothing_is_kept() -> None:
    service = Service(load(None, {}, {"server.port": 0, "keys.primary": "k" * 32}))
    assert service.admin is None
    assert service.node.inspections.inspector is None
    assert service.node.members is None
    assert not isinstance(service.node.observer, Observers)


async def test_with_a_key() -> None:
    async with serving() as served:
        node = served.service.node
        assert isinstance(node.members, RoomIndex) and node.members.others is None
        assert isinstance(node.observer, Observers)


async def test_in_a_cluster_other_nodes_are_told_of_rooms_too() -> None:
    settings = {"server.port": 0, "keys.primary": "k" * 32, "admin.operate_key": OPERATE}
    service = Service(load(None, {}, settings), LiveNetwork().broker)
    await service.start()
    assert isinstance(service.node.members, RoomIndex)
    assert service.node.members.others is service.router.directory
    await service.stop(drain=False)
