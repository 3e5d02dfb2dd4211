"""Every way in which a socket can end, and the reason on each side."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from tests.conformance.capabilities import shows
from tests.conformance.clients import Client
from tests.conformance.stage import Stage

CLIENT_LEFT: Final = "client namespace disconnect"
SERVER_LEFT: Final = "server namespace disconnect"
BY_OTHERS: Final = {"azure": CLIENT_LEFT}
"""Azure's SDK reports an end by the service as one by the client."""
BESIDE: Final = {
    "azure": "transport close",
    "node": SERVER_LEFT,
    "python": "server disconnect",
    "threads": "server disconnect",
}
"""The reason for a socket whose connection is closed because of another namespace."""
PYTHON_WORDS: Final = {
    CLIENT_LEFT: "client disconnect",
    SERVER_LEFT: "server disconnect",
    "transport close": "transport close",
    "forced close": "server disconnect",
    "ping timeout": "ping timeout",
}


def reason(stage: Stage, native: str) -> str:
    """The reason that the stage's SDK gives to a handler, if native socket.io gives `native`."""
    return PYTHON_WORDS[native] if stage.sdk in ("python", "threads") else native


def ended(stage: Stage, client: Client, at_client: str, at_server: str) -> None:
    """Check that both sides have ended, for these reasons."""
    assert client.ended() == at_client
    assert stage.space.ended(client) == reason(stage, at_server)
    stage.space.until_serves()


@shows("disconnect-reason", "last-words")
def test_packets_right_before_a_disconnect_arrive(stage: Stage) -> None:
    client = stage.define(listen=["last"]).client()
    said = [["last", n] for n in range(20)]
    for args in said:
        client.start("emit", args=args)
    client.act("disconnect")
    ended(stage, client, "io client disconnect", CLIENT_LEFT)

    def heard() -> list[list[Any]]:
        lines = stage.space.app.heard(stage.space.since, notice="handled", sid=client.sid)
        return stage.space.as_reported([line["args"] for line in lines])

    if stage.support("last-words").does:
        # The handlers of a threaded app may still run after the one of the disconnect.
        stage.space.app.wait_until(lambda: len(heard()) >= len(said), "the last words")
        assert heard() == stage.space.as_reported(said)
    else:
        assert heard() == said[: len(heard())]


@shows("disconnect-reason")
def test_the_client_closes_its_connection(stage: Stage) -> None:
    client = stage.define().client()
    client.act("close_engine")
    ended(stage, client, "forced close", "transport close")


@pytest.mark.repair(12)
@shows("disconnect-reason")
@pytest.mark.parametrize("close", [False, True], ids=["namespace", "connection"])
def test_clients_that_are_closed_during_an_upgrade(stage: Stage, close: bool) -> None:
    """A client starts its upgrade when it is connected, so the end arrives during the upgrade."""
    stage.define(on_connect=[{"do": "send", "args": ["hello"]}])
    for _ in range(8):
        client = stage.opening(transport="upgrade").connected()
        stage.space.start("disconnect", sid=client.sid, close=close)
        assert client.ended() == "io server disconnect"
        assert client.events() == [["hello"]]


@shows("disconnect-reason")
def test_clients_that_stop_answering(strict: list[Stage]) -> None:
    # All cells at once, because the timeout takes a while.
    mute = [(stage, stage.client(transport=name)) for stage in strict for name in ("websocket", "polling")]
    stays = [stage.client() for stage in strict]
    for _, client in mute:
        client.act("mute")
    for stage, client in mute:
        # The client has its own ping timeout.
        assert client.ended() in ("transport close", "transport error", "ping timeout")
        assert stage.space.ended(client) == reason(stage, "ping timeout")
    for stage, client in zip(strict, stays, strict=True):
        assert stage.hear([client], partial(stage.space.emit, "x")) == [[["x"]]]


@shows("disconnect")
def test_the_app_disconnects_a_client_from_a_namespace(stage: Stage) -> None:
    client = stage.define().client()
    stage.space.join(client, "room")
    stage.space.call("disconnect", sid=client, close=False)
    ended(stage, client, "io server disconnect", SERVER_LEFT)
    left = client.sid
    stage.here(client.again())
    assert client.sid != left
    assert stage.hear([client], lambda: stage.space.emit("x", to=["room"])) == [[]]


@shows("disconnect")
def test_the_app_closes_a_connection(stage: Stage) -> None:
    client = stage.define().client()
    step = stage.space.step
    last = [step("send", sid=client, args=["last", n]) for n in range(20)]
    stage.space.batch(*last, step("disconnect", sid=client, close=True))
    ended(stage, client, "io server disconnect", SERVER_LEFT)
    heard = [n for _, n in client.events()]
    # If a disconnect may overtake emits, the last emits may be lost.
    assert heard == list(range(20 if stage.support("one-order").does else len(heard)))


@shows("conn")
def test_the_app_closes_the_transport(stage: Stage) -> None:
    if not stage.support("conn").does:
        return
    client = stage.define().client()
    step = stage.space.step
    last = [step("send", sid=client, args=["last", n]) for n in range(20)]
    stage.space.batch(*last, step("close_connection", sid=client))
    # Azure's SDK sends the same for this and for its own stop, after which clients should reconnect.
    error = stage.sdk == "azure" and stage.transport == "polling"
    at_client = "transport error" if error else "transport close"
    ended(stage, client, at_client, "forced close")
    assert client.events() == [["last", n] for n in range(20)]


@shows("disconnecting")
def test_the_rooms_of_a_disconnecting_socket(stage: Stage) -> None:
    client = stage.define().client()
    stage.space.join(client, "a", "b")
    client.act("disconnect")
    stage.space.ended(client)
    heard = stage.space.app.heard(stage.space.since, notice="disconnecting", sid=client.sid)
    if stage.support("disconnecting").does:
        assert [set(line["rooms"]) for line in heard] == [{"a", "b", client.sid}]
    else:
        assert heard == []


@pytest.mark.parametrize("close", [False, True], ids=["namespace", "connection"])
@shows("disconnect-sockets")
def test_many_sockets_are_disconnected(stage: Stage, close: bool) -> None:
    stage.define()
    chat = stage.at("/chat").define()
    out, away, stays = stage.crew(3)
    beside = stage.here(out.enter(chat.ns))
    stage.space.join(out, "out")
    stage.space.join(away, "away")
    stage.space.join(stays, "out", "not")
    stage.space.call("disconnect_sockets", to=["out", "away"], close=close, **{"except": ["not"]})
    native = BY_OTHERS.get(stage.sdk, SERVER_LEFT)
    for client in (out, away):
        assert client.ended() == "io server disconnect"
        # Without sockets the stock client closes its connection, possibly before the service does.
        expected = {reason(stage, native), reason(stage, "transport close")}
        assert stage.space.ended(client) in expected
    stage.space.until_serves(stays)
    if close:
        # Otherwise it would treat the end of its connection as a failure and reconnect.
        assert beside.ended() == "io server disconnect"
        assert chat.ended(beside) == BESIDE[stage.sdk]
    else:
        assert stage.hear([beside], lambda: chat.emit("x"), by=chat) == [[["x"]]]
        assert stage.here(out.again()).connection == beside.connection
    assert stage.hear([stays], lambda: stage.space.emit("x")) == [[["x"]]]
