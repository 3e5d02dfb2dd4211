"""Connects and refusals, and the handshake that an app server gets."""

from __future__ import annotations

import time

import jwt
import pytest

from tests.conformance.capabilities import shows
from tests.conformance.program import Refused
from tests.conformance.stage import Stage, fresh

INVALID = "Invalid namespace"
WORDS = {"azure": INVALID, "node": INVALID, "python": "^Error: $", "threads": "^Error: $"}
"""The error for a namespace that does not exist. python-socketio sends a plain string where the
JavaScript client looks for an object's `message`."""
ATTIC = {"azure": INVALID, "node": INVALID, "python": "Unable to connect", "threads": "Unable to connect"}


@shows("connect")
def test_both_sides_agree_on_the_ids(stage: Stage) -> None:
    stage.define()
    client = stage.client()
    assert client.state() == {
        "connected": True,
        "sid": client.sid,
        "transport": stage.transport,
        "recovered": False,
        "pid": None,
        "offset": None,
    }
    assert stage.space.call("handshake", sid=client)["connection"] == client.connection
    assert stage.space.call("sids") == [client.sid]


@pytest.mark.repair(18)
@shows("connect")
def test_a_client_that_offers_subprotocols(stage: Stage) -> None:
    """`ws`, like browsers, fails a WebSocket if the server selects no subprotocol."""
    client = stage.define().client(protocols=["chat.v2", "chat"])
    assert client.state()["transport"] == stage.transport
    assert client.ask("echo", 1) == [1]


@pytest.mark.repair(17)
@shows("connect", "handshake")
def test_a_client_with_many_query_parameters(stage: Stage) -> None:
    query = {f"p{number}": str(number) for number in range(300)}
    client = stage.define().client(query=query)
    assert query.items() <= stage.space.call("handshake", sid=client)["query"].items()


@shows("connect")
def test_a_client_that_upgrades(stage: Stage) -> None:
    stage.define()
    client = stage.opening(transport="upgrade")
    for number in range(50):
        client.start("emit", args=["up", number])
    stage.here(client)
    assert stage.space.events(client, "up", 50) == stage.space.as_reported([[number] for number in range(50)])
    stage.space.batch(*[stage.space.step("send", sid=client, args=["down", n]) for n in range(50)])
    assert client.count("down", 50) == [[number] for number in range(50)]


@shows("connect", "disconnect-reason")
def test_every_connect_has_one_disconnect(stage: Stage) -> None:
    stage.define()
    # A second namespace keeps the connection open when the first is left.
    client = stage.client()
    stage.at("/anchor").define()
    anchor = stage.here(client.enter(f"{stage.ns}/anchor"))
    sids = [client.sid]
    for _ in range(10):
        client.act("disconnect")
        if stage.sdk == "azure":
            # As natively: if both arrive in one read, the CONNECT counts as a second one, and the
            # connection is closed.
            stage.space.wait("disconnect", sid=sids[-1])
        sids.append(client.again().sid)
    client.act("disconnect")
    assert client.connection == anchor.connection
    for sid in sids:
        stage.space.wait("disconnect", sid=sid)
    assert anchor.ask("echo", 1) == [1]
    heard = stage.space.app.heard(stage.space.since, ns=stage.ns)
    for notice in ("connection", "disconnect"):
        assert [line["sid"] for line in heard if line["notice"] == notice] == sids


@shows("connect", "broadcast", "ask-many")
def test_many_clients(stage: Stage) -> None:
    clients = stage.define().crew(40)
    assert len({client.sid for client in clients}) == 40
    assert stage.hear(clients, lambda: stage.space.emit("x", 1)) == [[["x", 1]]] * 40
    found = stage.space.ask("who")
    assert sorted(found["answers"]) == sorted(client.number for client in clients)
    for client in clients[::2]:
        client.start("disconnect")
    stage.space.until_serves(*clients[1::2])
    heard = stage.hear(clients[1::2], lambda: stage.space.emit("x", 2))
    assert [[e for e in events if e[0] == "x"] for events in heard] == [[["x", 2]]] * 20


@shows("connect-emit")
def test_emits_and_joins_of_the_connection_handler(stage: Stage) -> None:
    stage.define(
        on_connect=[
            {"do": "send", "args": ["welcome", 1, {"two": 2}]},
            {"do": "join", "rooms": ["lobby", "hall"]},
        ]
    )
    client = stage.client()
    assert client.next("welcome") == [1, {"two": 2}]
    stage.space.wait("prepared", sid=client.sid)
    assert stage.space.rooms(client) == {"lobby", "hall"}
    assert stage.hear([client], lambda: stage.space.emit("x", to=["lobby"])) == [[["x"]]]


@shows("middleware")
def test_a_refusal_has_message_and_data_and_allows_a_retry(stage: Stage) -> None:
    data = {"retry": False, "at": ["é", 1]}
    stage.define(refuse=[{"auth": {"password": "wrong"}, "message": "not you", "data": data}])
    client = stage.opening(auth={"password": "wrong"})
    with pytest.raises(Refused) as refusal:
        client.connected()
    assert (refusal.value.message, refusal.value.data) == ("not you", data)
    # The same connection may retry: a refusal ends only the namespace.
    client.again(auth={"password": "right"})
    assert stage.here(client).ask("echo", "yes") == ["yes"]


@shows("middleware")
def test_a_refusal_without_data(stage: Stage) -> None:
    stage.define(refuse=[{"auth": {}, "message": "nobody"}])
    with pytest.raises(Refused) as refusal:
        stage.opening().connected()
    assert (refusal.value.message, refusal.value.data) == ("nobody", None)
    stage.space.until_serves()


@shows("engine-middleware")
def test_a_middleware_of_the_engine(strict: list[Stage]) -> None:
    for stage in strict:
        for transport in ("websocket", "polling"):
            client = stage.opening(transport=transport, extraHeaders={"x-turn-away": "1"})
            if stage.support("engine-middleware").does:
                with pytest.raises(Refused) as refusal:
                    client.connected()
                assert refusal.value.data == {"status": 403}, "what the middleware chose"
            else:
                stage.here(client)
        assert stage.client().ask("echo", 1) == [1]


@shows("handshake")
def test_the_handshake_that_an_app_server_gets(stage: Stage) -> None:
    stage.define()
    client = stage.client(
        query={"room": "é &=+", "empty": ""},
        extraHeaders={"X-Custom": "some value", "Cookie": "a=b"},
        auth={"token": "t", "deep": {"list": [1, None]}},
    )
    found = stage.space.call("handshake", sid=client)
    assert (found["query"]["room"], found["query"]["empty"]) == ("é &=+", "")
    assert found["auth"] == {"token": "t", "deep": {"list": [1, None]}}
    # The azure dialect sends headers as lists, and its SDK passes them on as lists.
    wrap = (lambda value: [value]) if stage.sdk == "azure" else str
    assert found["headers"]["x-custom"] == wrap("some value")
    assert found["headers"]["cookie"] == wrap("a=b")


@pytest.mark.repair(13)
@shows("handshake")
def test_the_apps_own_credentials_pass_through(stage: Stage) -> None:
    stage.define()
    wrap = (lambda value: [value]) if stage.sdk == "azure" else str
    for own in ("Bearer opaque", "Basic YTpi", f"Bearer {jwt.encode({'sub': 'u1'}, 'k' * 32)}"):
        client = stage.client(extraHeaders={"Authorization": own}, query={"access_token": own[-6:]})
        found = stage.space.call("handshake", sid=client)
        assert found["headers"]["authorization"] == wrap(own)
        assert found["query"]["access_token"] == own[-6:]


@pytest.mark.repair(13)
@shows("claims")
def test_our_token_and_the_apps_own(stage: Stage) -> None:
    root = stage.root()
    audience = f"{stage.service.url}/clients/socketio/hubs/{stage.hub}"
    token = jwt.encode({"sub": "bob", "exp": int(time.time()) + 300, "aud": audience}, stage.service.key)
    headers = {"Authorization": "Bearer opaque"}
    client = stage.opening(ns="/", query={"access_token": token}, extraHeaders=headers).connected()
    root.wait("connection", sid=client.sid)
    found = root.call("handshake", sid=client)
    assert found["claims"]["sub"] == ["bob"]
    assert "access_token" not in found["query"]
    assert "opaque" in str(found["headers"]["authorization"])


@shows("address")
def test_the_address_of_a_client(stage: Stage) -> None:
    stage.define()
    found = stage.space.call("handshake", sid=stage.client())
    assert (found["address"] == "127.0.0.1") is stage.support("address").does
    if stage.support("address").does:
        assert found["secure"] is False
        assert found["url"].startswith(f"/clients/socketio/hubs/{stage.hub}")


@pytest.mark.repair(27)
@shows("address")
def test_the_address_of_a_client_behind_a_proxy(stage: Stage) -> None:
    stage.define()
    if not stage.support("address").does:
        return
    for headers in (
        {"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 127.0.0.9"},
        {"Forwarded": 'for=6.6.6.6, for="192.0.2.7:4711";proto=https'},
    ):
        found = stage.space.call("handshake", sid=stage.client(extraHeaders=headers))
        assert found["address"] == "192.0.2.7"


@shows("claims")
def test_the_claims_of_an_access_token(stage: Stage) -> None:
    # In the root namespace, the only one for which Azure's SDK restores claims.
    root = stage.root()
    claims = {"sub": "bob", "colour": "green", "lucky": [3, 7], "exp": int(time.time()) + 300}
    audience = f"{stage.service.url}/clients/socketio/hubs/{stage.hub}"
    token = jwt.encode({**claims, "aud": audience}, stage.service.key)
    client = stage.opening(ns="/", query={"access_token": token}).connected()
    root.wait("connection", sid=client.sid)
    found = root.call("handshake", sid=client)
    assert found["claims"]["colour"] == ["green"]
    assert found["claims"]["lucky"] == ["3", "7"]
    assert found["claims"]["sub"] == ["bob"]
    assert "access_token" not in found["query"]
    assert "authorization" not in found["headers"]


@shows("namespaces")
def test_several_namespaces_on_one_connection(stage: Stage) -> None:
    stage.define()
    chat, news = stage.at("/chat").define(), stage.at("/news é b").define()
    main = stage.client()
    in_chat, in_news = (stage.here(main.enter(space.ns)) for space in (chat, news))
    other = stage.client(ns=chat.ns)
    assert in_chat.connection == main.connection
    for space, client in ((chat, in_chat), (news, in_news)):
        space.join(client, "room")
    everyone = [main, in_chat, in_news, other]
    spaces = (stage.space, chat, news)
    for space in spaces:
        space.emit("x", space.ns)
        space.emit("room", space.ns, to=["room"])
    chat.emit("x", "not me", sender=in_chat)
    for space in spaces:
        space.emit("end")
    heard = [client.until(["end"]) for client in everyone]
    assert heard == [
        [["x", stage.ns]],
        [["x", chat.ns], ["room", chat.ns]],
        [["x", news.ns], ["room", news.ns]],
        [["x", chat.ns], ["x", "not me"]],
    ]


@shows("namespaces")
def test_a_namespace_is_left_and_joined_again(stage: Stage) -> None:
    stage.define()
    chat = stage.at("/chat").define()
    main = stage.client()
    client = stage.here(main.enter(chat.ns))
    left = client.sid
    chat.join(client, "room")
    client.act("disconnect")
    chat.wait("disconnect", sid=left)
    assert stage.hear([main], lambda: stage.space.emit("x")) == [[["x"]]]
    stage.here(client.again())
    assert client.sid != left
    assert stage.hear([client], lambda: chat.emit("x", to=["room"]), by=chat) == [[]]


@shows("namespaces")
def test_a_namespace_that_is_not_served(stage: Stage) -> None:
    stage.define()
    with pytest.raises(Refused, match=WORDS[stage.sdk]):
        stage.opening(ns="/nobody").connected()


@shows("dynamic-namespaces")
def test_namespaces_that_match_a_pattern(stage: Stage) -> None:
    floor = fresh("/floor")
    with stage.dynamic(f"^{floor}-\\d+$", refuse=[{"auth": {"key": "lost"}, "message": "stay out"}]):
        one, two = stage.at(f"{floor}-1", exact=True), stage.at(f"{floor}-2", exact=True)
        first, second = stage.client(ns=one.ns), stage.client(ns=two.ns)
        assert first.ask("echo", 1) == [1]
        assert stage.hear([first], lambda: one.emit("x", 1), by=one) == [[["x", 1]]]
        assert stage.hear([second], lambda: two.emit("x", 2), by=two) == [[["x", 2]]]
        with pytest.raises(Refused, match="stay out"):
            stage.opening(ns=f"{floor}-3", auth={"key": "lost"}).connected()
        with pytest.raises(Refused, match=ATTIC[stage.sdk]):
            # python-socketio has no patterns: the catch-all handler refuses.
            stage.opening(ns=f"{floor}-attic").connected()
