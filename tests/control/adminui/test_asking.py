"""What the Admin UI asks of the cluster. `test_server.py` asks real nodes."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.control.adminui.asking import MAX_PAGES, Asking
from moorage.wire.commands import Selection
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.inspect.forms import ConnectionRow, ConnectionsQuery
from moorage.wire.reasons import ADMIN_BUSY
from tests.hub.fakes import HUB, World

ROW: dict[str, Any] = {
    "hub": HUB,
    "user": None,
    "node": "n",
    "address": "",
    "app_server": "s",
    "age": 0.0,
    "queued_bytes": 0,
}


class Page:
    def __init__(self, connections: list[Any], following: str | None) -> None:
        self.connections = connections
        self.next = following


class Questions:
    """Answers with endless pages of one connection each."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def connections(self, query: ConnectionsQuery) -> Page:
        self.asked.append(query.cursor)
        number = len(self.asked)
        row = ConnectionRow(id=f"c{number}", transport="polling", namespaces=[], **ROW)
        return Page([row], f"after {number}" if number < 100 else None)


def asking(world: World, questions: Any = None) -> Asking:
    keys: Any = None
    traces: Any = None
    return Asking(world.node, questions, keys, traces, payloads=False, clock=lambda: 5.0)


async def test_transports_of_some_pages() -> None:
    questions = Questions()
    found = await asking(World(), questions).transports(HUB)
    assert len(found) == len(questions.asked) == MAX_PAGES
    assert questions.asked[:2] == [None, "after 1"]
    assert found["c1"] == "polling"


async def test_sockets() -> None:
    world = World()
    world.server()
    clients = [world.client("/") for _ in range(3)]
    to = Selection(group=namespace_group("/"))
    found = [row.connection async for rows in asking(world).sockets(HUB, to, "/") for row in rows]
    assert sorted(found) == [client.id for client in clients]
    assert asking(world).now() == 5.0


async def test_a_refused_question(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def refuse(_command: object, reply: Any, about: object, _answers: object) -> None:
        reply(about, PeerError(ADMIN_BUSY))
        reply(about, PeerError(ADMIN_BUSY))

    monkeypatch.setattr(world.node, "submit", refuse)
    with pytest.raises(PeerError):
        async for _ in asking(world).sockets(HUB, Selection(), "/"):
            pass
