"""Quiet recovery with stock clients: the app notices nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.apps import linked
from tests.conformance.cells import BEHIND, Cell, ended
from tests.conformance.program import PATIENCE
from tests.conformance.stage import Space, fresh
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])


@BEHIND
def test_quietly_the_app_notices_nothing(cell_of: Callable[..., Cell], sdk: str, transport: str) -> None:
    with ended(cell_of(sdk, transport, quiet=True)) as cell:
        client, space = cell.client(), cell.space
        space.join(client, "r")
        space.call("set_data", sid=client, data={"n": 1})
        sid, since = client.sid, space.app.mark
        client.act("lose")
        space.send(client, "private", 1)
        asked = space.start("ask_socket", sid=client, args=["who"], timeout=int(PATIENCE * 1000))
        space.emit("room", 2, to=["r"])
        client.again()
        assert (client.sid, client.state()["recovered"]) == (sid, True)
        assert space.app.result(asked) == [client.number]
        client.emit("from it", 3)
        assert space.event(client, "from it") == [3]
        mark = fresh("live")
        space.send(client, mark)
        client.count(mark, 1)
        private, *either, last = [event[0] for event in client.events()]
        # A threaded app asks in a thread of its own, so its next emit may come first.
        assert (private, sorted(either), last) == ("private", ["room", "who"], mark)
        lines = space.app.heard(since, sid=sid)
        assert [line["notice"] for line in lines if line["notice"] in ("connection", "disconnect")] == []
        assert space.rooms(client) == {"r"}
        assert space.fetch()[sid]["data"] == {"n": 1}


@BEHIND
def test_quietly_a_client_finds_the_app_server_of_its_socket(
    cell_of: Callable[..., Cell], running: MoorageProcess, sdk: str, transport: str
) -> None:
    with ended(cell_of(sdk, transport, quiet=True)) as cell:
        client, stays, space = cell.client(), cell.client(), cell.space
        # It has no clients, so the service chooses it for the next connection.
        other = linked(
            "node" if sdk != "node" else "python",
            running,
            cell.stage.hub,
            connectionStateRecovery={},
            quietRecovery=True,
        )
        try:
            there = Space(other, cell.stage.ns).define()
            space.join(client, "r")
            since = {app: app.mark for app in (space.app, other)}
            client.act("lose")
            space.send(client, "private", 1)
            asked = space.start("ask_socket", sid=client.sid, args=["who"], timeout=int(PATIENCE * 1000))
            there.emit("room", 2, to=["r"])
            sid = client.sid
            client.again()
            assert (client.sid, client.state()["recovered"]) == (sid, True)
            assert space.app.result(asked) == [client.number]
            client.emit("from it", 3)
            assert space.event(client, "from it") == [3]
            space.until_in(client, {"r"})
            there.emit("live")
            client.count("live", 1)
            stays.count("live", 1)
            assert sorted(event[0] for event in client.events()) == ["live", "private", "room", "who"]
            for app, mark in since.items():
                lines = app.heard(mark, sid=sid)
                assert [
                    line["notice"] for line in lines if line["notice"] in ("connection", "disconnect")
                ] == []
        finally:
            other.kill()
