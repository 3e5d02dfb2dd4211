"""One hub with app servers of all kinds: each serves its own clients and reaches all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.capabilities import SDKS, shows, support
from tests.conformance.clients import Client
from tests.conformance.fleet import OURS, Fleet
from tests.conformance.program import Refused

Crews = dict[str, list[Client]]

each_kind = pytest.mark.parametrize("sdk", SDKS)
our_kinds = pytest.mark.parametrize("sdk", OURS)


def everyone(crews: Crews) -> list[Client]:
    """All clients of all app servers."""
    return [client for crew in crews.values() for client in crew]


def names(heard: dict[str, list[list[list[Any]]]]) -> dict[str, list[list[Any]]]:
    """The first argument of each event."""
    return {sdk: [[event[1] for event in events] for events in each] for sdk, each in heard.items()}


@shows("events", "client-ack", "socket-ack")
def test_each_app_server_serves_its_own_clients(fleet: Fleet) -> None:
    crews = fleet.crew_of(2)
    for sdk, crew in crews.items():
        space = fleet.of(sdk)
        for client in crew:
            assert client.ask("echo", sdk, b"\x00") == [sdk, b"\x00"]
            assert space.call("ask_socket", sid=client, args=["who"], timeout=15_000) == [client.number]
        space.until_serves(*crew)


@each_kind
@shows("broadcast", "to", "except", "broadcast-from")
def test_emits_reach_the_clients_of_all_app_servers(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(2)
    space = fleet.of(sdk)
    for kind, (first, second) in crews.items():
        fleet.of(kind).join(first, "first", kind)
        fleet.of(kind).join(second, "second", kind)
    own, _ = crews[sdk]
    other = crews["azure" if sdk == "node" else "node"][1]

    def act() -> None:
        space.emit("x", "all", {"deep": [b"\x00\xff"]})
        space.emit("x", "first", to=["first"])
        space.emit("x", "not first", except_=["first"])
        space.emit("x", "either", to=["first", "second"], except_=["azure"])
        space.emit("x", "one", to=[other])
        space.emit("x", "not me", to=["first"], sender=own)

    heard = names(fleet.hearing(crews, act, by=space))
    for kind in crews:
        either = [] if kind == "azure" else ["either"]
        me = [] if kind == sdk else ["not me"]
        one = ["one"] if other in crews[kind] else []
        assert heard[kind] == [["all", "first", *either, *me], ["all", "not first", *either, *one]]


@our_kinds
@shows("one-order")
def test_clients_of_all_app_servers_see_one_order(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(1)
    space = fleet.of(sdk)
    for kind, [client] in crews.items():
        fleet.of(kind).join(client, "room")
    targets: list[dict[str, Any]] = [{}, {"to": ["room"]}, {"to": everyone(crews)}, {"except": ["nobody"]}]
    steps = [space.step("emit", args=["x", n], **targets[(n * 7 + n // 5) % 4]) for n in range(80)]
    heard = names(fleet.hearing(crews, lambda: space.batch(*steps), by=space))
    assert heard == {kind: [list(range(80))] for kind in crews}


@each_kind
@shows("ask-many")
def test_acks_of_the_clients_of_all_app_servers(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(2)
    found = fleet.of(sdk).ask("who")
    assert found["complete"]
    assert sorted(found["answers"]) == sorted(client.number for client in everyone(crews))


@each_kind
@shows("rooms")
def test_a_finished_join_counts_everywhere(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(1)
    owner, [client] = fleet.of(sdk), crews[sdk]
    others = fleet.others(owner)
    for n in range(10):
        owner.join(client, f"room {n}")
        for other in others:
            other.emit("x", f"{n} {other.app.sdk}", to=[f"room {n}"])
            client.next("x")
        owner.leave(client, f"room {n}")
        for other in others:
            other.emit("x", "left", to=[f"room {n}"])
    for other in others:
        assert fleet.hear([client], lambda: None, by=other) == [[]]


@each_kind
@shows("sockets-join", "remote-rooms")
def test_sockets_of_other_app_servers_are_moved(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(2)
    space = fleet.of(sdk)
    first = [crew[0] for crew in crews.values()]
    space.call("sockets_join", to=first, rooms=["new", "newer"])
    if sdk == "azure":
        # See test_rooms.
        space.until_in(crews[sdk][0], {"new", "newer"})
    space.call("sockets_leave", to=first, rooms=["newer"])
    heard = names(fleet.hearing(crews, lambda: space.emit("x", 1, to=["new"]), by=space))
    assert heard == {kind: [[1], []] for kind in crews}
    heard = names(fleet.hearing(crews, lambda: space.emit("x", 1, to=["newer"]), by=space))
    assert heard == {kind: [[], []] for kind in crews}
    for kind, (client, _) in crews.items():
        owner = fleet.of(kind)
        if support("remote-rooms", kind).does:
            owner.until_in(client, {"new"})
        elif kind != sdk:
            assert owner.rooms(client) == set()


@pytest.mark.parametrize("close", [False, True], ids=["namespace", "connection"])
@each_kind
@shows("disconnect-sockets")
def test_sockets_of_other_app_servers_are_disconnected(fleet: Fleet, sdk: str, close: bool) -> None:
    crews = fleet.crew_of(2)
    out = [crew[0] for crew in crews.values()]
    fleet.of(sdk).call("disconnect_sockets", to=out, close=close)
    for kind, (client, stays) in crews.items():
        assert client.ended() == "io server disconnect"
        assert fleet.of(kind).ended(client)
        fleet.of(kind).until_serves(stays)


@each_kind
@shows("fetch", "data", "all-sockets")
def test_the_sockets_of_all_app_servers_are_fetched(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(2)
    space = fleet.of(sdk)
    for kind, (first, _) in crews.items():
        fleet.of(kind).join(first, "first", kind)
        fleet.of(kind).call("set_data", sid=first, data={"kind": kind})
    if not support("fetch", sdk).does:
        with pytest.raises(Refused, match=support("fetch", sdk).refusal):
            space.fetch()
        assert set(space.fetch(flags={"local": True})) == {client.sid for client in crews[sdk]}
        return
    found = space.call("fetch")
    assert found["missing"] == []
    sockets = {one["id"]: one for one in found["sockets"]}
    assert set(sockets) == {client.sid for client in everyone(crews)}
    assert set(space.call("all_sockets")) == set(sockets)
    assert set(space.fetch(to=["first"])) == {crew[0].sid for crew in crews.values()}
    for kind, (first, second) in crews.items():
        assert set(sockets[first.sid]["rooms"]) == {first.sid, "first", kind}
        assert set(sockets[second.sid]["rooms"]) == {second.sid}
        # An app server of the azure dialect cannot be asked.
        assert sockets[first.sid]["data"] == ({"kind": kind} if support("data", kind).does else {})
        assert not sockets[second.sid]["data"]
        assert sockets[first.sid]["handshake"]["headers"]["host"] in (
            fleet.service.url.removeprefix("http://"),
            [fleet.service.url.removeprefix("http://")],
        )


@each_kind
@shows("remote-socket")
def test_operations_on_sockets_of_other_app_servers(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(1)
    space = fleet.of(sdk)
    for kind, [client] in crews.items():
        if not support("remote-socket", sdk).does:
            with pytest.raises(Refused, match=support("remote-socket", sdk).refusal):
                space.call("remote", sid=client, act="emit", args=["x"])
            continue
        space.call("remote", sid=client, act="emit", args=["x", 1])
        assert space.call("remote", sid=client, act="ask", args=["who"], timeout=15_000) == client.number
        space.call("remote", sid=client, act="join", rooms=["a", "b"])
        space.call("remote", sid=client, act="leave", rooms=["b"])
        space.emit("x", 2, to=["a"])
        space.emit("x", 3, to=["b"])
        space.call("remote", sid=client, act="disconnect", close=False)
        assert client.ended() == "io server disconnect"
        assert client.events() == [["x", 1], ["who"], ["x", 2]]
        assert fleet.of(kind).ended(client)


@each_kind
@shows("tell", "tell-ask")
def test_app_servers_send_events_to_each_other(fleet: Fleet, sdk: str) -> None:
    space = fleet.define().of(sdk)
    if not support("tell", sdk).does:
        for call in ("tell", "tell_and_ask"):
            with pytest.raises(Refused, match=support("tell", sdk).refusal):
                space.call(call, args=["note"])
        return
    others = fleet.others(space, *OURS)
    space.call("tell", args=["note", sdk, {"deep": [1, None, "é"]}])
    for other in others:
        assert other.wait("told")["args"] == ["note", sdk, {"deep": [1, None, "é"]}]
    found = space.call("tell_and_ask", args=["who", 1])
    assert found["complete"]
    assert sorted(found["answers"]) == sorted(other.app.label for other in others)
    assert space.app.heard(space.since, notice="told", ns=space.ns) == []


@each_kind
@shows("server-count")
def test_the_number_of_app_servers(fleet: Fleet, sdk: str) -> None:
    expected = len(SDKS) if support("server-count", sdk).does else 1
    assert fleet.define().of(sdk).call("server_count") == expected


@each_kind
@shows("local")
def test_local_reaches_own_clients_only(fleet: Fleet, sdk: str) -> None:
    crews = fleet.crew_of(1)
    space = fleet.of(sdk)
    heard = names(fleet.hearing(crews, lambda: space.emit("x", 1, flags={"local": True}), by=space))
    own_only = support("local", sdk).does
    assert heard == {kind: [[1] if kind == sdk or not own_only else []] for kind in crews}
