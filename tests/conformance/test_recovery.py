"""Connection state recovery with stock clients: each SDK beside native `socket.io`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.sdk import client_token
from moorage.wire.groups import namespace_group, room_group
from tests.conformance.apps import linked
from tests.conformance.capabilities import shows
from tests.conformance.cells import BEHIND, NATIVE, OURS, Cell, ended
from tests.conformance.program import PATIENCE, Refused
from tests.conformance.stage import Space, fresh
from tests.support.service import MoorageProcess

PYTHON: Final = ("python", "threads")
BYTES: Final = bytes(range(256))


@pytest.fixture(params=["websocket", "polling", "upgrade"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def cell(cell_of: Callable[..., Cell], sdk: str, transport: str) -> Iterator[Cell]:
    with ended(cell_of(sdk, transport)) as made:
        yield made


SDKS = pytest.mark.parametrize("sdk", (NATIVE, *OURS))
ON_WEBSOCKET = pytest.mark.parametrize("transport", ["websocket"])


@SDKS
@shows("recovery")
def test_a_client_comes_back_to_its_socket_and_misses_nothing(cell: Cell) -> None:
    client, space = cell.client(), cell.space
    space.join(client, "r", "s")
    space.call("set_data", sid=client, data={"name": "Zoë", "n": [1, 2.5, None]})
    sid = client.sid
    cell.lose(client)
    space.emit("all", 1)
    space.emit("room", {"two": [2]}, to=["r"])
    space.emit("once", 3, to=["r", "s"])
    space.emit("not to it", to=["t"])
    space.emit("not to it", to=["r"], except_=["s"])
    space.emit("not to it", except_=["r"])
    space.emit("private", 4, to=[sid])
    space.emit("bytes", BYTES, 5, b"")
    assert cell.back(client)
    assert client.sid == sid
    assert cell.missed(client) == [
        ["all", 1],
        ["room", {"two": [2]}],
        ["once", 3],
        ["private", 4],
        ["bytes", BYTES, 5, b""],
    ]
    assert space.rooms(client) == {"r", "s"}
    assert space.fetch()[sid]["data"] == {"name": "Zoë", "n": [1, 2.5, None]}


@pytest.mark.parametrize("sdk", ["azure"])
@ON_WEBSOCKET
def test_with_azures_sdk_it_is_a_new_socket(cell_of: Callable[..., Cell], sdk: str, transport: str) -> None:
    with ended(cell_of(sdk, transport)) as cell:
        client = cell.stage.client()
        sid = client.sid
        cell.lose(client)
        assert not cell.back(client)
        assert client.sid != sid


@SDKS
def test_again_and_again(cell: Cell) -> None:
    client, sid = cell.client(), ""
    for turn in range(3):
        sid = sid or client.sid
        cell.lose(client)
        cell.space.emit("missed", turn)
        assert cell.back(client)
        assert client.sid == sid
        assert cell.missed(client) == [["missed", turn]]


@SDKS
@ON_WEBSOCKET
def test_the_app_sees_the_disconnect_before_the_connection(cell: Cell) -> None:
    client = cell.client()
    since = cell.space.app.mark
    cell.lose(client)
    assert cell.back(client)
    lines = cell.space.app.heard(since, sid=client.sid)
    notices = [line["notice"] for line in lines if line["notice"] in ("connection", "disconnect")]
    assert notices == ["disconnect", "connection"]


@SDKS
@ON_WEBSOCKET
def test_several_namespaces_of_one_connection(cell: Cell) -> None:
    other = cell.stage.at("/other").define()
    client = cell.client()
    second = client.enter(other.ns).connected()
    other.wait("connection", sid=second.sid)
    other.send(second, "first")
    second.next("first")
    sids = client.sid, second.sid
    cell.lose(client)
    cell.space.emit("here", 1)
    other.emit("there", 2)
    assert cell.back(client)
    assert (client.sid, client.state()["recovered"]) == (sids[0], True)
    end = time.monotonic() + PATIENCE
    while not second.state()["connected"]:
        assert time.monotonic() < end, "the second namespace does not come back"
    assert (second.state()["sid"], second.state()["recovered"]) == (sids[1], True)
    assert cell.missed(client) == [["here", 1]]
    assert second.next("there")[0] == 2


@SDKS
@pytest.mark.parametrize("end", ["disconnect", "app"])
@ON_WEBSOCKET
def test_an_end_that_somebody_wanted_is_one(cell: Cell, end: str) -> None:
    client = cell.client()
    sid = client.sid
    if end == "app":
        cell.space.call("disconnect", sid=client, close=False)
        client.ended()
    else:
        client.act("disconnect")
    cell.space.wait("disconnect", sid=sid)
    assert not cell.back(client)
    assert client.sid != sid


@pytest.mark.parametrize("sdk", (NATIVE, "node"))
@ON_WEBSOCKET
def test_after_the_time_it_is_a_new_socket(cell_of: Callable[..., Cell], sdk: str, transport: str) -> None:
    with ended(cell_of(sdk, transport, maxDisconnectionDuration=1)) as cell:
        client = cell.client()
        sid = client.sid
        cell.lose(client)
        time.sleep(3)  # longer than the app allows; the service looks once a second
        assert not cell.back(client)
        assert client.sid != sid


@SDKS
@ON_WEBSOCKET
def test_a_pid_or_an_offset_that_nobody_has_given(cell: Cell) -> None:
    client = cell.client()
    for auth in ({"pid": "made up"}, {"offset": "made up"}, {"pid": 7, "offset": None}):
        sid = client.sid
        cell.lose(client)
        assert not cell.back(client, auth=auth)
        assert client.sid != sid
        cell.space.send(client, "first")
        client.next("first")


@BEHIND
@ON_WEBSOCKET
def test_a_pid_that_belongs_to_somebody_else(
    cell_of: Callable[..., Cell], sdk: str, transport: str, running: MoorageProcess
) -> None:
    """Natively any client with a `pid` gets its socket."""
    with ended(cell_of(sdk, transport)) as cell:

        def token(user: str) -> dict[str, str]:
            return {"access_token": client_token(running.connection_string, hub=cell.stage.hub, user_id=user)}

        victim = cell.client(query=token("alice"))
        state = victim.state()
        stolen = {"pid": state["pid"], "offset": state["offset"]}
        cell.lose(victim)
        cell.space.emit("missed", 1)
        other = cell.stage.at("/other").define()
        thieves = [
            cell.stage.client(query=token("mallory"), auth=stolen),
            cell.stage.client(auth=stolen),
            cell.stage.opening(ns=other.ns, query=token("alice"), auth=stolen).connected(),
        ]
        # Another app server, and another hub.
        elsewhere = cell_of(sdk, transport, maxDisconnectionDuration=50_000)
        thieves.append(elsewhere.stage.client(auth=stolen))
        for thief in thieves:
            assert not thief.state()["recovered"]
            assert thief.sid != victim.sid
            assert [event for event in thief.events() if event[0] == "missed"] == []
        assert cell.back(victim)
        assert cell.missed(victim) == [["missed", 1]]


@SDKS
def test_volatile_events_are_not_kept(cell: Cell) -> None:
    client, space = cell.client(), cell.space
    cell.lose(client)
    space.emit("volatile", 1, flags={"volatile": True})
    space.emit("kept", 2)
    space.emit("volatile", 3, to=[client.sid], flags={"volatile": True})
    assert cell.back(client)
    assert cell.missed(client) == [["kept", 2]]


@BEHIND
@ON_WEBSOCKET
def test_a_volatile_event_with_text_is_no_offset(cell: Cell) -> None:
    """Natively the client takes the text for its offset, and its socket is lost."""
    client, space = cell.client(), cell.space
    space.emit("volatile", "text", flags={"volatile": True})
    assert client.next("volatile")[0] == "text"
    sid = client.sid
    cell.lose(client)
    space.emit("kept", 1)
    assert cell.back(client)
    assert client.sid == sid
    assert cell.missed(client) == [["kept", 1]]


@BEHIND
def test_emits_of_rest_while_it_is_away(
    cell_of: Callable[..., Cell], sdk: str, transport: str, running: MoorageProcess
) -> None:
    dial = WebPubSubServiceClient.from_connection_string
    with ended(cell_of(sdk, transport)) as cell, dial(running.connection_string, hub=cell.stage.hub) as rest:
        ns, hub = cell.stage.ns, cell.stage.hub

        def event(number: int) -> str:
            return f'42{"" if ns == "/" else ns + ","}["rest",{number}]'

        token = client_token(running.connection_string, hub=hub, user_id="alice")
        client = cell.client(query={"access_token": token})
        cell.space.join(client, "r")
        cell.lose(client)
        text: Any = {"content_type": "text/plain"}
        rest.send_to_all(event(1), **text)
        rest.send_to_group(namespace_group(ns), event(2), **text)
        rest.send_to_group(room_group(ns, "r"), event(3), **text)
        rest.send_to_group(room_group(ns, "nobody"), event(0), **text)
        rest.send_to_user("alice", event(4), **text)
        rest.send_to_user("bob", event(0), **text)
        rest.send_to_all(event(0), filter="userId eq 'bob'", **text)
        rest.send_to_all(event(5), filter="userId eq 'alice'", **text)
        assert cell.back(client)
        rest.send_to_all(event(6), **text)
        client.count("rest", 6)
        assert cell.missed(client) == [["rest", number] for number in range(1, 7)]


@pytest.mark.parametrize("sdk", (NATIVE, "node"))
@ON_WEBSOCKET
def test_middlewares_are_skipped_or_not(cell_of: Callable[..., Cell], sdk: str, transport: str) -> None:
    with ended(cell_of(sdk, transport)) as cell:
        client = cell.client()
        cell.lose(client)
        assert cell.back(client, auth={"token": "refused"})
    with ended(cell_of(sdk, transport, skipMiddlewares=False)) as cell:
        client = cell.client()
        cell.lose(client)
        with pytest.raises(Refused, match="no"):
            client.again(auth={"token": "refused"})


@pytest.mark.parametrize("sdk", PYTHON)
@ON_WEBSOCKET
def test_the_connect_handler_may_refuse(cell: Cell) -> None:
    client = cell.client()
    cell.lose(client)
    with pytest.raises(Refused, match="no"):
        client.again(auth={"token": "refused"})


@BEHIND
@ON_WEBSOCKET
def test_a_client_that_has_got_no_event_yet(cell: Cell) -> None:
    client = cell.stage.client()
    sid = client.sid
    cell.lose(client)
    cell.space.emit("missed")
    assert cell.back(client), "natively it is a new socket"
    assert client.sid == sid
    assert cell.missed(client) == [["missed"]]


@BEHIND
@ON_WEBSOCKET
def test_what_others_do_while_it_is_away(cell: Cell, running: MoorageProcess) -> None:
    client = cell.client()
    other = linked(
        "node" if cell.sdk != "node" else "python", running, cell.stage.hub, connectionStateRecovery={}
    )
    try:
        there = Space(other, cell.stage.ns).define()
        since = {app: app.mark for app in (cell.space.app, other)}
        cell.space.join(client, "r", "s")
        client.act("lose")
        cell.space.app.wait(since[cell.space.app], notice="disconnect", sid=client.sid)
        there.emit("of another app server", 1)
        there.call("sockets_leave", to=[client.sid], rooms=["r"])
        there.call("sockets_join", to=[client.sid], rooms=["t"])
        there.emit("not to it", to=["r"])
        there.emit("to its new room", 2, to=["t"])
        client.again()
        assert client.state()["recovered"]
        mark = fresh("live")
        there.emit(mark)
        client.count(mark, 1)
        found = [event[:-1] for event in client.events()]
        assert found == [["of another app server", 1], ["to its new room", 2], [mark]]

        def owners() -> list[Space]:
            back = {"notice": "connection", "sid": client.sid, "recovered": True}
            return [space for space in (cell.space, there) if space.app.heard(since[space.app], **back)]

        [owner] = other.wait_until(owners, "the app server that it came back to")
        owner.until_in(client, {"s", "t"})
    finally:
        other.kill()
