"""Calls that reach all app servers, on a hub with one app server; `test_fleet` has several."""

from __future__ import annotations

import pytest

from tests.conformance.capabilities import shows
from tests.conformance.program import Refused
from tests.conformance.stage import Stage
from tests.conformance.test_rooms import crew


@shows("fetch")
def test_fetch_sockets(stage: Stage) -> None:
    space, clients = crew(stage, ["a"], ["a", "b"], [])
    support = stage.support("fetch")
    if not support.does:
        with pytest.raises(Refused, match=support.refusal):
            space.fetch()
        # It returns its own sockets if only these are requested.
        local = space.fetch(flags={"local": True})
        assert set(local) == {client.sid for client in clients}
        return
    space.call("set_data", sid=clients[0], data={"name": "é", "list": [1]})
    found = space.fetch()
    assert {sid: set(one["rooms"]) - {sid} for sid, one in found.items()} == {
        clients[0].sid: {"a"},
        clients[1].sid: {"a", "b"},
        clients[2].sid: set(),
    }
    assert found[clients[0].sid]["data"] == {"name": "é", "list": [1]}
    assert set(space.fetch(to=["a"])) == {clients[0].sid, clients[1].sid}
    assert set(space.fetch(to=["a"], except_=["b"])) == {clients[0].sid}
    assert set(space.fetch(to=[clients[2], "b"])) == {clients[1].sid, clients[2].sid}
    assert space.fetch(to=["nobody"]) == {}


@shows("all-sockets")
def test_all_sockets(stage: Stage) -> None:
    space, clients = crew(stage, ["a"], ["b"])
    support = stage.support("all-sockets")
    if not support.does:
        with pytest.raises(Refused, match=support.refusal):
            space.call("all_sockets")
        return
    assert set(space.call("all_sockets")) == {client.sid for client in clients}
    assert space.call("all_sockets", to=["b"]) == [clients[1].sid]


@shows("tell", "tell-ask")
def test_a_server_side_emit_without_other_app_servers(stage: Stage) -> None:
    space = stage.define().space
    support = stage.support("tell")
    if not support.does:
        for call in ("tell", "tell_and_ask"):
            with pytest.raises(Refused, match=support.refusal):
                space.call(call, args=["who"])
        return
    space.call("tell", args=["note", 1])
    answer = space.call("tell_and_ask", args=["who"])
    assert (answer["answers"], answer["complete"]) == ([], True)
    assert space.app.heard(space.since, notice="told") == []


@shows("server-count")
def test_one_server_counts(stage: Stage) -> None:
    assert stage.define().space.call("server_count") == 1
