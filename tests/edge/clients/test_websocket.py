"""Engine.IO 4 over WebSocket and the upgrade to it, as a client sees them, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, request_bytes
from tests.support.rawws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame
from tests.support.service import MoorageProcess

UPGRADE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
}


@pytest.fixture
async def client(service: MoorageProcess, hub: str, app: AppServer) -> AsyncIterator[WebSocket]:
    """A client with an open session."""
    async with await WebSocket.session(service.url, clients(hub)) as socket:
        yield socket


# -- opening ------------------------------------------------------------------------------------------


async def test_the_open_packet_offers_no_upgrade(service: MoorageProcess, hub: str, app: AppServer) -> None:
    app.options = {"pingInterval": 300, "pingTimeout": 200, "maxPayload": 5000, "upgrades": ["x"]}
    async with await WebSocket.session(service.url, clients(hub), "&room=%C3%A9&access_token=") as client:
        sid = client.info.pop("sid")
        assert client.info == {"upgrades": [], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 5000}
        event = await app.event("connect")
        assert event.connection == sid
        assert event.json()["query"] == {"EIO": ["4"], "transport": ["websocket"], "room": ["é"]}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?transport=websocket", 5),
        ("?EIO=3&transport=websocket", 5),
        ("?EIO=4", 0),
        ("?EIO=4&transport=abc", 0),
        ("?EIO=4&transport=polling", 0),
        ("?EIO=4&transport=websocket&sid=abc", 1),
    ],
)
async def test_refusals_come_before_the_upgrade(
    service: MoorageProcess, hub: str, app: AppServer, query: str, code: int
) -> None:
    reply = await WebSocket.refused(service.url, clients(hub) + query)
    assert (reply.status, reply.json()["code"]) == (400, code)


async def test_a_refusal_of_the_app_server_is_an_http_status(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    counter = 'moorage_refusals_total{door="client",reason="app-refused"}'
    before = service.metric(counter)
    app.on_connect = lambda event: (401, b"who are you")
    reply = await WebSocket.refused(service.url, clients(hub) + "?EIO=4&transport=websocket")
    assert (reply.status, reply.json()["reason"]) == (400, "app-refused")
    assert service.metric(counter) == before + 1


async def test_without_an_app_server(service: MoorageProcess, hub: str) -> None:
    reply = await WebSocket.refused(service.url, clients(hub) + "?EIO=4&transport=websocket")
    assert (reply.status, reply.json()["reason"]) == (503, "no-app-server")


async def test_a_client_that_leaves_while_it_opens_is_cleaned_up(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    app.on_connect = lambda event: None
    async with await HttpConnection.open(service.url) as http:
        await http.send(request_bytes("GET", clients(hub) + "?EIO=4&transport=websocket", UPGRADE))
        event = await app.event("connect")
    await app.answer(event, *app.accept(event))
    assert (await app.event("disconnected")).connection == event.connection


# -- messages -----------------------------------------------------------------------------------------


async def test_packets_both_ways(client: WebSocket, app: AppServer) -> None:
    await client.send("40")
    assert (await client.text())[:8] == '40{"sid"'
    await client.send('42["a","é€😀"]')
    assert await client.text() == '42["a","é€😀"]'


async def test_each_packet_of_a_payload_is_a_frame(client: WebSocket, app: AppServer) -> None:
    await app.send(client.sid, '42["a"]\x1e2\x1e42["b"]')
    assert [await client.text() for _ in range(3)] == ['42["a"]', "2", '42["b"]']


@pytest.mark.repair(10)
async def test_large_messages_leave_no_large_buffers(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    """Each of these would keep a megabyte for the connection's life."""
    sockets = [await WebSocket.session(service.url, clients(hub)) for _ in range(60)]

    async def send_large(socket: WebSocket) -> None:
        event = f'42["{"x" * 990_000}"]'
        await socket.send(event)
        assert await socket.text() == event

    await send_large(sockets[0])
    before = service.memory("VmRSS")
    for socket in sockets:
        await send_large(socket)
    assert service.memory("VmRSS") < before + 20_000_000
    for socket in sockets:
        await socket.send('42["after"]')
        assert await socket.text() == '42["after"]'
        await socket.http.close()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
async def test_sizes_of_frames(client: WebSocket, size: int) -> None:
    event = f'42["{"x" * size}"]'
    await client.send(event)
    assert await client.text() == event


async def test_binary_both_ways(client: WebSocket) -> None:
    await client.send('452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    await client.send(b"\x00\xff\x80")
    await client.send(b"")
    assert (await client.text())[:4] == "452-"
    assert await client.binary() == b"\x00\xff\x80"
    assert await client.binary() == b""


@pytest.mark.parametrize("cut", [None, 150_000, 299_999])
async def test_large_binary_messages_whole_and_in_fragments(client: WebSocket, cut: int | None) -> None:
    data = bytes(range(250)) * 1200
    await client.send('451-["e",{"_placeholder":true,"num":0}]')
    if cut is None:
        await client.send(data)
    else:
        await client.raw(frame(BINARY, data[:cut], fin=False) + frame(CONTINUATION, data[cut:]))
    assert (await client.text())[:4] == "451-"
    assert await client.binary() == data
    await client.send('42["after"]')
    assert await client.text() == '42["after"]'


@pytest.mark.parametrize("rsv", [1, 2, 4])
async def test_an_extension_that_was_not_negotiated_ends_the_session(client: WebSocket, rsv: int) -> None:
    await client.raw(frame(TEXT, b"42[1]", rsv=rsv))
    assert (await client.ended())[1][0] == 1002


async def test_an_attachment_may_come_as_text(client: WebSocket) -> None:
    await client.send('451-["e",{"_placeholder":true,"num":0}]')
    await client.send("bAQIDBA==")
    assert (await client.text())[:4] == "451-"
    assert await client.binary() == b"\x01\x02\x03\x04"


async def test_heartbeats_pass_through(client: WebSocket, app: AppServer) -> None:
    await app.send(client.sid, "2")
    assert await client.text() == "2"
    await client.send("3")
    assert await app.message(client.sid) == "3"


async def test_fragments_are_joined(client: WebSocket) -> None:
    await client.raw(frame(TEXT, b'42["', fin=False) + frame(CONTINUATION, "é".encode()[:1], fin=False))
    await client.raw(frame(PING, b"between"))
    await client.raw(frame(CONTINUATION, "é".encode()[1:] + b'"]'))
    assert await client.frame() == Frame(PONG, b"between")
    assert await client.text() == '42["é"]'
    await client.send('451-["e",{"_placeholder":true,"num":0}]')
    await client.raw(frame(BINARY, b"\x01", fin=False) + frame(CONTINUATION, b"\x02"))
    await client.text()
    assert await client.binary() == b"\x01\x02"


async def test_fragments_are_capped_together(service: MoorageProcess, hub: str, app: AppServer) -> None:
    app.options = {"maxPayload": 1000}
    async with await WebSocket.session(service.url, clients(hub)) as client:
        whole = b'42["' + b"x" * 994 + b'"]'
        await client.raw(frame(TEXT, whole[:600], fin=False) + frame(CONTINUATION, whole[600:]))
        assert await client.text() == whole.decode()
        await client.raw(frame(TEXT, whole[:600], fin=False) + frame(CONTINUATION, whole[600:] + b"x"))
        assert (await client.ended())[1] == (1009, "payload-too-large")


async def test_max_payload(service: MoorageProcess, hub: str, app: AppServer) -> None:
    app.options = {"maxPayload": 1000}
    async with await WebSocket.session(service.url, clients(hub)) as client:
        whole = f'42["{"x" * 994}"]'
        await client.send(whole)
        assert await client.text() == whole
        await client.send(whole + "x")
        assert (await client.ended())[1].code == 1009
        record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
        assert (record["reason"], record["who"]) == ("payload-too-large", "service")


async def test_pings_of_the_websocket_layer_are_answered(client: WebSocket) -> None:
    await client.raw(frame(PING, b"x" * 125) + frame(PONG, b"unasked"))
    assert await client.frame() == Frame(PONG, b"x" * 125)


async def test_pings_of_a_client_that_does_not_read_are_not_all_answered(
    service: MoorageProcess, client: WebSocket
) -> None:
    """Answers would gather without limit: this client reads none of them."""
    pings = frame(PING, b"x" * 125) * 2000
    before = service.memory("VmRSS")
    for _ in range(200):
        await client.raw(pings)
    await client.send("42[1]")
    while (await client.frame()).opcode == PONG:
        pass
    assert service.memory("VmRSS") < before + 16_000_000


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        ("abc", "bad-packet", 1002),
        ("", "bad-packet", 1002),
        ("2", "bad-packet", 1002),
        ("2probe", "bad-packet", 1002),
        ("4abc", "bad-socketio-packet", 1002),
        ("451-[]\x1ebAA==", "bad-packet", 1002),
        (b"abc", "unexpected-binary", 1002),
    ],
)
async def test_a_broken_packet_ends_the_session(
    service: MoorageProcess, client: WebSocket, message: str | bytes, reason: str, code: int
) -> None:
    await client.send(message)
    await client.send("40")
    assert await client.ended() == (["1"], (code, reason))
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert (record["reason"], record["who"]) == (reason, "service")


# -- closing ------------------------------------------------------------------------------------------


async def test_the_client_closes_with_a_packet(client: WebSocket, app: AppServer) -> None:
    await client.send("1")
    assert (await client.ended())[1].code == 1000
    assert (await app.event("disconnected")).connection == client.sid


async def test_nothing_follows_a_close_to_the_app_server(client: WebSocket, app: AppServer) -> None:
    await client.raw(frame(TEXT, b"42[1]") + frame(TEXT, b"1") + frame(TEXT, b"42[2]"))
    await client.ended()
    await app.event("disconnected")
    # The connection is unknown now: had the second message gone out, it would be here already.
    assert await app.send(client.sid, "2") == 404
    assert app.events.empty()


async def test_the_client_closes_the_websocket(
    service: MoorageProcess, client: WebSocket, app: AppServer
) -> None:
    await client.raw(frame(CLOSE, (1001).to_bytes(2, "big") + b"bye"))
    texts, end = await client.ended()
    assert (texts, end.code) == ([], 1000)
    assert (await app.event("disconnected")).connection == client.sid
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert (record["reason"], record["who"]) == ("client-closed", "client")


async def test_the_connection_breaks(service: MoorageProcess, client: WebSocket, app: AppServer) -> None:
    client.http.writer.transport.abort()
    assert (await app.event("disconnected")).connection == client.sid
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert (record["reason"], record["who"]) == ("transport-lost", "client")


async def test_the_app_server_closes(service: MoorageProcess, client: WebSocket, app: AppServer) -> None:
    await app.send(client.sid, '42["last"]')
    await app.send(client.sid, "1")
    assert await client.ended() == (['42["last"]', "1"], (1000, "app-closed"))
    assert (await app.event("disconnected")).connection == client.sid
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert (record["reason"], record["who"]) == ("app-closed", "app")


async def test_a_client_that_ignores_the_close_is_cut_off(client: WebSocket, app: AppServer) -> None:
    await app.send(client.sid, "1")
    # It keeps its side open and reads nothing more: the end of the stream comes all the same.
    assert (await client.http.rest())[:3] == b"\x81\x011"


async def test_an_unknown_connection_in_the_app_server_is_closed(
    service: MoorageProcess, client: WebSocket, app: AppServer
) -> None:
    app.on_message = lambda event: 400
    await client.send("42[1]")
    assert (await client.ended())[1] == (1012, "app-forgot")


# -- the upgrade ----------------------------------------------------------------------------------------


@pytest.fixture
async def polling(service: MoorageProcess, hub: str, app: AppServer) -> Polling:
    """A client on long-polling."""
    return await Polling(service.url, clients(hub)).open()


async def test_an_upgrade(service: MoorageProcess, polling: Polling, app: AppServer) -> None:
    waiting = asyncio.create_task(polling.poll())
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        assert await waiting == "6", "released at once"
        assert await polling.poll() == "6", "and so is every later one"
        await socket.send("5")
        await app.send(polling.sid, '42["a"]')
        assert await socket.text() == '42["a"]'
        await socket.send('42["b"]')
        assert await app.message(polling.sid) == '42["b"]'
        reply = await polling.get()
        assert (reply.status, reply.json()["reason"]) == (400, "already-upgraded")
        assert (await polling.post("42[1]")).status == 400
        second = await WebSocket.refused(service.url, polling.upgrade_target)
        assert (second.status, second.json()["reason"]) == (400, "duplicate-upgrade")


async def test_packets_during_the_upgrade_keep_their_order(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await app.send(polling.sid, '42["x",0]')
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await app.send(polling.sid, '42["x",1]')
        assert await polling.poll() == '42["x",0]\x1e42["x",1]', "by poll until the end of the handshake"
        await app.send(polling.sid, '42["x",2]')
        await app.send(polling.sid, '451-["x",{"_placeholder":true,"num":0}]\x1ebAQID')
        await polling.send('42["y",0]')
        await socket.raw(frame(TEXT, b"5") + frame(TEXT, b'42["y",1]'))
        assert await socket.text() == '42["x",2]'
        assert (await socket.text())[:4] == "451-"
        assert await socket.binary() == b"\x01\x02\x03"
        assert await app.message(polling.sid) == '42["y",0]'
        assert await app.message(polling.sid) == '42["y",1]'


async def test_data_left_by_a_poll_comes_first_after_the_upgrade(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    await app.send(polling.sid, "\x1e".join(f"42[{number}]" for number in range(18)))
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        assert len((await polling.poll()).split("\x1e")) == 16
        await app.send(polling.sid, "42[18]")
        await socket.send("5")
        assert [await socket.text() for _ in range(3)] == ["42[16]", "42[17]", "42[18]"]


async def test_a_failed_upgrade_leaves_polling(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        await socket.text()
    await app.send(polling.sid, '42["a"]')
    assert await polling.poll() == '42["a"]'
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.raw(frame(TEXT, b'42["not yet"]') + frame(TEXT, b"5"))
        assert (await socket.ended())[1] == (1002, "bad-request")
    await app.send(polling.sid, '42["b"]')
    assert await polling.poll() == '42["b"]'
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        await app.send(polling.sid, '42["c"]')
        assert await socket.text() == '42["c"]'


async def test_a_second_upgrade_meanwhile_is_refused(service: MoorageProcess, polling: Polling) -> None:
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        reply = await WebSocket.refused(service.url, polling.upgrade_target)
        assert (reply.status, reply.json()["reason"]) == (400, "duplicate-upgrade")
        await socket.send("2probe")
        assert await socket.text() == "3probe"


async def test_an_upgrade_that_hangs_is_given_up() -> None:
    with MoorageProcess("--set", "server.upgrade_timeout=3s") as service:
        async with AppServer(service, "app") as app:
            polling = await Polling(service.url, "/socket.io/").open()
            async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
                await socket.send("2probe")
                assert await socket.ended() == (["3probe"], (1008, "upgrade-timeout"))
            await app.send(polling.sid, '42["a"]')
            assert await polling.poll() == '42["a"]'


# -- the upgrade request itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
    ],
)
async def test_a_bad_upgrade_request(
    service: MoorageProcess, hub: str, app: AppServer, change: dict[str, str]
) -> None:
    target = clients(hub) + "?EIO=4&transport=websocket"
    reply = await WebSocket.refused(service.url, target, change)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-upgrade")
    assert reply.headers["sec-websocket-version"] == "13"


async def test_frames_sent_before_the_answer_are_kept(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    async with await HttpConnection.open(service.url) as http:
        request = request_bytes("GET", clients(hub) + "?EIO=4&transport=websocket", UPGRADE)
        await http.send(request + frame(TEXT, b"42[1]") + frame(TEXT, b"42[2]"))
        reply = await http.reply()
        assert reply.status == 101
        assert reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert "sec-websocket-extensions" not in reply.headers
        assert (await app.event("message")).content == "42[1]\x1e42[2]"
