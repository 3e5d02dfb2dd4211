"""Engine.IO 4 over HTTP long-polling, as a client sees it.

It covers the ground of the protocol's own conformance suite, and more of the closing."""

from __future__ import annotations

import asyncio
import json

import pytest

from moorage.auth import AccessKeys, AuthSettings
from moorage.edge.clients.admission import Admission
from moorage.edge.clients.log import ClientLog
from moorage.edge.clients.polling import LINGER_SECONDS, PollingHandler, PollingSession
from moorage.edge.relay.relay import Relay
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.wire.reasons import APP_CLOSED
from tests.hub.fakes import World
from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, fetch, request_bytes
from tests.support.service import MoorageProcess

OPEN = "?EIO=4&transport=polling"


@pytest.fixture
async def client(service: MoorageProcess, hub: str, app: AppServer) -> Polling:
    """A client with an open session."""
    return await Polling(service.url, clients(hub)).open()


# -- opening ------------------------------------------------------------------------------------------


async def test_the_open_packet_carries_the_app_servers_terms(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.options = {"pingInterval": 300, "pingTimeout": 200, "maxPayload": 5000}
    reply = await fetch(service.url, clients(hub) + OPEN)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; charset=UTF-8"
    assert reply.headers["cache-control"] == "no-store"
    info = json.loads(reply.body[1:])
    assert reply.body[:1] == b"0"
    sid = info.pop("sid")
    assert info == {"upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 5000}
    event = await app.event("connect")
    assert event.connection == sid
    assert event.json()["query"] == {"EIO": ["4"], "transport": ["polling"]}


async def test_the_smaller_of_two_payload_limits_holds(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.options = {"maxPayload": 100_000_000}
    client = await Polling(service.url, clients(hub)).open()
    assert client.info["maxPayload"] == 1_000_000


async def test_session_ids_differ_and_fit_in_a_url(service: MoorageProcess, hub: str, app: AppServer) -> None:
    sids = {(await Polling(service.url, clients(hub)).open()).sid for _ in range(5)}
    assert len(sids) == 5
    assert all(len(sid) >= 20 and sid.replace("-", "_").replace("_", "a").isalnum() for sid in sids)


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "?transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?EIO=abc&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?EIO=4", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=websocket", 0, "Transport unknown"),
        ("GET", OPEN + "&sid=abc", 1, "Session ID unknown"),
        ("POST", OPEN + "&sid=abc", 1, "Session ID unknown"),
        ("POST", OPEN, 2, "Bad handshake method"),
        ("PUT", OPEN, 2, "Bad handshake method"),
    ],
)
async def test_refusals_have_the_protocols_codes(
    service: MoorageProcess, hub: str, app: AppServer, method: str, query: str, code: int, message: str
) -> None:
    reply = await fetch(service.url, clients(hub) + query, method=method)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert body["code"] == code
    assert body["message"].startswith(message)
    assert body["number"] >= 2000, "and our own number beside it"


async def test_another_method_on_a_session_is_refused_and_leaves_it_open(client: Polling) -> None:
    for method in ("PUT", "DELETE", "HEAD"):
        async with await HttpConnection.open(client.base) as http:
            await http.send(request_bytes(method, client.target, {"Connection": "close"}))
            assert (await http.rest()).startswith(b"HTTP/1.1 400 ")
    await client.send("40")
    assert (await client.poll())[:2] == "40"


async def test_a_refusal_of_the_app_server_is_the_answer(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    counter = 'moorage_refusals_total{door="client",reason="app-refused"}'
    before = service.metric(counter)
    app.on_connect = lambda event: (400, b"not today")
    reply = await fetch(service.url, clients(hub) + OPEN)
    assert (reply.status, reply.json()["reason"]) == (400, "app-refused")
    assert "not today" in reply.json()["message"]
    app.on_connect = lambda event: (200, b"[]")
    reply = await fetch(service.url, clients(hub) + OPEN)
    assert (reply.status, reply.json()["reason"]) == (502, "app-error")
    assert service.metric(counter) == before + 1


async def test_without_an_app_server_a_client_is_told_to_come_back(service: MoorageProcess, hub: str) -> None:
    reply = await fetch(service.url, clients(hub) + OPEN)
    assert (reply.status, reply.json()["reason"]) == (503, "no-app-server")


async def test_a_client_that_leaves_while_it_opens_is_cleaned_up(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.on_connect = lambda event: None
    async with await HttpConnection.open(service.url) as http:
        await http.send(request_bytes("GET", clients(hub) + OPEN))
        event = await app.event("connect")
    # The service has seen the end of that connection once it answers a later one.
    await fetch(service.url, "/healthz")
    await app.answer(event, *app.accept(event))
    gone = await app.event("disconnected")
    assert gone.connection == event.connection


# -- packets ------------------------------------------------------------------------------------------


async def test_packets_both_ways(client: Polling, app: AppServer) -> None:
    await client.send("40")
    assert await app.message(client.sid) == "40"
    assert (await client.poll())[:8] == '40{"sid"'
    await client.send('42["a","é€😀"]')
    assert await app.message(client.sid) == '42["a","é€😀"]'
    assert await client.poll() == '42["a","é€😀"]'


async def test_a_poll_waits_until_there_is_something(client: Polling, app: AppServer) -> None:
    waiting = asyncio.create_task(client.poll())
    await client.send("3")
    assert not waiting.done(), "an answered POST came and went meanwhile"
    assert await app.send(client.sid, '42["x"]') == 202
    assert await waiting == '42["x"]'


async def test_several_packets_in_one_payload(client: Polling, app: AppServer) -> None:
    await client.send('42["a"]\x1e42["b"]\x1e42["c"]')
    assert await app.message(client.sid) == '42["a"]\x1e42["b"]\x1e42["c"]'
    assert await client.packets(3) == ['42["a"]', '42["b"]', '42["c"]']


async def test_emits_between_polls_wait_in_order(client: Polling, app: AppServer) -> None:
    for number in range(3):
        await app.send(client.sid, f'42["x",{number}]')
    assert await client.poll() == '42["x",0]\x1e42["x",1]\x1e42["x",2]'


async def test_one_answer_holds_no_more_packets_than_every_client_accepts(
    client: Polling, app: AppServer
) -> None:
    """python-engineio gives up over a payload of more than 16 packets."""
    for number in range(40):
        await app.send(client.sid, f"42[{number}]")
    polls = [await client.poll() for _ in range(3)]
    assert [len(payload.split("\x1e")) for payload in polls] == [16, 16, 8]
    assert "\x1e".join(polls).split("\x1e") == [f"42[{number}]" for number in range(40)]
    await app.send(client.sid, "\x1e".join(f"42[{number}]" for number in range(17)))
    await app.send(client.sid, "1")
    assert len((await client.poll()).split("\x1e")) == 16
    assert await client.poll() == "42[16]"
    assert await client.poll() == "6\x1e1"


async def test_binary_both_ways(client: Polling) -> None:
    await client.send('451-["e",{"_placeholder":true,"num":0}]\x1ebAQIDBA==')
    assert await client.packets(2) == ['451-["e",{"_placeholder":true,"num":0}]', "bAQIDBA=="]


async def test_an_attachment_may_come_with_the_next_post(client: Polling) -> None:
    await client.send('452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]\x1ebAQID')
    await client.send("bBAUG")
    assert (await client.packets(3))[1:] == ["bAQID", "bBAUG"]


async def test_heartbeats_pass_through(client: Polling, app: AppServer) -> None:
    assert await app.send(client.sid, "2") == 202
    assert await client.poll() == "2"
    await client.send("3")
    assert await app.message(client.sid) == "3"


async def test_a_post_is_answered_when_the_app_server_has_taken_it(client: Polling, app: AppServer) -> None:
    app.on_message = lambda event: None
    posting = asyncio.create_task(client.post("42[1]"))
    event = await app.event("message")
    assert not posting.done()
    await app.answer(event, 200)
    assert (await posting).body == b"ok"


async def test_a_second_post_meanwhile_ends_the_session(client: Polling, app: AppServer) -> None:
    app.on_message = lambda event: None
    posting = asyncio.create_task(client.post("42[1]"))
    await app.event("message")
    second = await client.post("42[2]")
    assert (second.status, second.json()["reason"]) == (400, "duplicate-post")
    assert (await client.get()).status == 400
    await posting


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("abc", "bad-packet"),
        ("", "bad-packet"),
        ("\x1e", "bad-packet"),
        ("42[1]\x1e\x1e42[2]", "bad-packet"),
        ("2", "bad-packet"),
        ("7", "bad-packet"),
        ("4abc", "bad-socketio-packet"),
        ("47[]", "bad-socketio-packet"),
        ("44{}", "bad-socketio-packet"),
        ("451-[]\x1e42[1]", "missing-attachment"),
        ("bAQID", "unexpected-binary"),
        ("451-[]\x1eb!!", "bad-packet"),
        (b"42[\xff]", "bad-utf8"),
    ],
)
async def test_a_broken_packet_ends_the_session(
    service: MoorageProcess, client: Polling, payload: str | bytes, reason: str
) -> None:
    refusal = await client.post(payload)
    assert (refusal.status, refusal.json()["reason"]) == (400, reason)
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert (record["reason"], record["who"]) == (reason, "service")
    for later in (await client.get(), await client.post("42[1]")):
        assert (later.status, later.json()["code"]) == (400, 1)
        assert f"({reason}: " in later.json()["message"]


async def test_a_noop_is_nothing(client: Polling, app: AppServer) -> None:
    await client.send('6\x1e42["a"]')
    assert await app.message(client.sid) == '42["a"]'


async def test_a_payload_at_the_limit_passes_and_one_above_does_not(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.options = {"maxPayload": 1000}
    client = await Polling(service.url, clients(hub)).open()
    await client.send(f'42["{"x" * 994}"]')
    reply = await client.post(f'42["{"x" * 995}"]')
    assert (reply.status, reply.json()["reason"]) == (413, "payload-too-large")
    await client.send('42["still here"]')


async def test_the_limit_holds_without_a_content_length(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.options = {"maxPayload": 1000}
    client = await Polling(service.url, clients(hub)).open()
    async with await HttpConnection.open(service.url) as http:
        await http.send(request_bytes("POST", client.target, {"Transfer-Encoding": "chunked"}))
        await http.send(b"3e8\r\n" + b"4" * 1000 + b"\r\n" + b"1\r\n4\r\n")
        assert (await http.reply()).status == 413


# -- closing: the exact texts that Socket.IO's own tests expect ------------------------------------------


async def test_the_client_closes(client: Polling, app: AppServer) -> None:
    waiting = asyncio.create_task(client.poll())
    await client.send("3")
    await client.send("1")
    assert await waiting == "6"
    assert (await client.get()).json()["code"] == 1
    assert (await app.event("disconnected")).connection == client.sid


async def test_the_client_closes_without_a_poll_waiting(client: Polling) -> None:
    await client.send("1")
    assert (await client.get()).json()["code"] == 1


async def test_the_app_server_closes_while_a_poll_waits(client: Polling, app: AppServer) -> None:
    waiting = asyncio.create_task(client.poll())
    await client.send("3")
    assert await app.send(client.sid, "1") == 202
    assert await waiting == "6\x1e1"
    assert (await client.get()).json()["code"] == 1
    assert (await app.event("disconnected")).connection == client.sid


async def test_the_app_server_closes_while_no_poll_waits(client: Polling, app: AppServer) -> None:
    await app.send(client.sid, "1")
    assert await client.poll() == "6\x1e1"
    assert (await client.get()).json()["code"] == 1


async def test_the_app_server_closes_while_packets_wait(client: Polling, app: AppServer) -> None:
    await app.send(client.sid, '42["last"]')
    await app.send(client.sid, "1")
    assert await client.poll() == '42["last"]'
    assert await client.poll() == "6\x1e1"
    assert (await client.get()).json()["code"] == 1


async def test_a_payload_may_end_with_the_close(client: Polling, app: AppServer) -> None:
    await app.send(client.sid, '42["last"]\x1e1')
    assert await client.poll() == '42["last"]'
    assert await client.poll() == "6\x1e1"


async def test_packets_behind_a_close_packet_are_not_delivered(client: Polling, app: AppServer) -> None:
    assert (await client.post("42[1]\x1e1\x1e42[2]")).status == 200
    assert await app.message(client.sid) == "42[1]"
    assert (await app.event("disconnected")).connection == client.sid


async def test_a_payload_of_many_packets_keeps_their_order(client: Polling, app: AppServer) -> None:
    packets = [f"42[{number}]" for number in range(300)]
    await client.send("\x1e".join(packets))
    taken: list[str] = []
    while len(taken) < len(packets):
        taken += (await app.message(client.sid)).split("\x1e")
    assert taken == packets


async def test_two_polls_at_once_end_the_session(client: Polling) -> None:
    waiting = asyncio.create_task(client.get())
    await client.send("3")
    second = await client.get()
    assert (second.status, second.json()["reason"]) == (400, "duplicate-poll")
    first = await waiting
    assert (first.status, first.text) == (200, "1")
    assert (await client.get()).json()["code"] == 1


async def test_a_poll_that_breaks_off_ends_the_session(client: Polling, app: AppServer) -> None:
    async with await HttpConnection.open(client.base) as http:
        await http.send(request_bytes("GET", client.target))
        await client.send("3")
    assert (await app.event("disconnected")).connection == client.sid


async def test_a_session_belongs_to_its_hub(service: MoorageProcess, client: Polling) -> None:
    reply = await fetch(service.url, f"{clients('another')}{OPEN}&sid={client.sid}")
    assert reply.json()["code"] == 1


def session_of(world: World) -> tuple[PollingHandler, PollingSession]:
    """A polling client in this process, and its handler."""
    world.server()
    connection = world.client(framed=False)
    keys = AccessKeys("0123456789abcdef0123456789abcdef")
    admission = Admission(
        node=world.node,
        keys=keys,
        auth_settings=AuthSettings(),
        server=ServerSettings(),
        cors=CorsSettings(),
        default_hub="app",
        log=ClientLog(world.metrics, connects=False, per_second=100, clock=lambda: world.now),
        wall_clock=lambda: 0.0,
    )
    relay = Relay(keys, "own", lambda _node: "", limit=0)
    handler = PollingHandler(admission, relay, 0, clock=lambda: world.now)
    session = PollingSession(handler, connection)
    handler._sessions[connection.id] = session
    connection.outbox.attach(session, ready=False)
    return handler, session


def test_an_ended_session_waits_for_its_last_poll_only_so_long() -> None:
    world = World()
    handler, session = session_of(world)
    world.node.disconnect(session.connection, APP_CLOSED, who="app")
    handler.tick(world.now + LINGER_SECONDS - 0.1)
    assert session.connection.id in handler._sessions
    handler.tick(world.now + LINGER_SECONDS)
    assert session.connection.id not in handler._sessions


async def test_a_post_waits_while_the_app_server_is_behind() -> None:
    world = World()
    _, session = session_of(world)
    await session.readable()
    for go_on in (
        session.resume_reading,
        lambda: world.node.disconnect(session.connection, APP_CLOSED, who="app"),
    ):
        session.pause_reading()
        waiting = asyncio.create_task(session.readable())
        await asyncio.sleep(0)
        assert not waiting.done()
        go_on()
        await waiting
