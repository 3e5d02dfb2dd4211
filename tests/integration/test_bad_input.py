"""Bad input of a stranger: each case ends only its sender, with its numbered reason.

Beside every attack two clients of another hub stand by, and must be able to talk on over the same
connections; the process must log no error and keep its memory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count

import pytest

from moorage.wire.reasons import CATALOGUE
from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, fetch, request_bytes
from tests.support.rawws import BINARY, CLOSE, CONTINUATION, PING, TEXT, WebSocket, frame
from tests.support.service import MoorageProcess

MIB = 1024 * 1024
GROWTH = 48 * MIB
"""Memory that one attack may use while it lasts, and that may stay in the interpreter."""
OPEN = "?EIO=4&transport=polling"

_numbers = count(1)


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """A service that waits for slow requests hardly longer than a busy machine delays a good one."""
    flags = [
        "server.header_timeout=3s",
        "server.body_timeout=3s",
        "limits.outbox_bytes=1MiB",
        "limits.outbox_hard_bytes=4MiB",
        "limits.slow_after=1s",
    ]
    with MoorageProcess(*(part for flag in flags for part in ("--set", flag))) as running:
        yield running


@pytest.fixture(autouse=True)
async def bystanders(service: MoorageProcess) -> AsyncIterator[None]:
    """Other clients, which must not be affected."""
    hub = f"calm_{next(_numbers)}"
    async with (
        AppServer(service, hub),
        await WebSocket.session(service.url, clients(hub)) as socket,
    ):
        polling = await Polling(service.url, clients(hub)).open()
        before = service.memory("VmRSS")
        yield
        await socket.send('42["still here"]')
        assert await socket.text() == '42["still here"]'
        await polling.send('42["me too"]')
        assert await polling.poll() == '42["me too"]'
        assert service.memory("VmRSS") < before + GROWTH
        assert not [line for line in service.lines if '"level": "error"' in line or "Traceback" in line]


@pytest.fixture
def hub() -> str:
    """A name that no other test uses."""
    return f"bad_{next(_numbers)}"


@pytest.fixture
async def app(service: MoorageProcess, hub: str) -> AsyncIterator[AppServer]:
    """The attacker's app server."""
    async with AppServer(service, hub) as running:
        yield running


@pytest.fixture
async def socket(service: MoorageProcess, hub: str, app: AppServer) -> AsyncIterator[WebSocket]:
    """The attacker, on a WebSocket."""
    async with await WebSocket.session(service.url, clients(hub)) as made:
        yield made


@pytest.fixture
async def polling(service: MoorageProcess, hub: str, app: AppServer) -> Polling:
    """The attacker, on long-polling."""
    return await Polling(service.url, clients(hub)).open()


async def ended(service: MoorageProcess, connection: str, reason: str) -> None:
    """The log line that says how a connection ended."""
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=connection)
    assert (record["reason"], record["number"]) == (reason, CATALOGUE[reason].number)


# -- bytes that are not HTTP --------------------------------------------------------------------------------


async def test_random_bytes(service: MoorageProcess) -> None:
    noise = random.Random(7)
    for _ in range(60):
        async with await HttpConnection.open(service.url) as http:
            await http.send(noise.randbytes(noise.choice([1, 10, 100, 5000])) + b"\r\n\r\n")
            answer = await http.rest()
            assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 408 ")


async def test_random_bytes_after_a_valid_beginning(service: MoorageProcess, hub: str) -> None:
    noise = random.Random(8)
    good = request_bytes("POST", clients(hub) + OPEN, {"Content-Length": "10"}, b"0123456789")
    for _ in range(60):
        async with await HttpConnection.open(service.url) as http:
            cut = noise.randrange(4, len(good))
            await http.send(good[:cut] + noise.randbytes(50) + b"\r\n\r\n")
            # No answer, if the garbage followed a complete request that was being answered.
            assert (await http.rest())[:9] in (b"HTTP/1.1 ", b"")


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: x\r\n" % n for n in range(200)), 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n", 431, "headers-too-large"),
        (b"GET /" + b"x" * 20_000, 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "bad-http"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad-http"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400, "bad-http"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "bad-http"),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03", 400, "bad-http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-http"),
    ],
    ids=[
        "many-headers", "long-header", "long-target", "two-lengths",
        "length-and-chunked", "odd-coding", "target", "tls", "http2",
    ],
)  # fmt: skip
async def test_invalid_requests(service: MoorageProcess, head: bytes, status: int, reason: str) -> None:
    counter = f'moorage_refusals_total{{door="http",reason="{reason}"}}'
    before = service.metric(counter)
    async with await HttpConnection.open(service.url) as http:
        await http.send(head)
        reply = await http.reply()
        assert (reply.status, reply.json()["reason"]) == (status, reason)
        assert reply.json()["number"] == CATALOGUE[reason].number
        assert await http.rest() == b""
    assert service.metric(counter) == before + 1


async def test_slow_requests(service: MoorageProcess, polling: Polling) -> None:
    """Half a line, half a header, silence, half a body: together, because each takes the whole time."""
    counter = 'moorage_refusals_total{door="http",reason="header-timeout"}'
    before = service.metric(counter)
    body = request_bytes("POST", polling.target, {"Content-Length": "100"}) + b"4"

    async def given_up(sent: bytes) -> bytes:
        async with await HttpConnection.open(service.url) as http:
            await http.send(sent)
            reply = await http.reply()
            assert (reply.status, reply.json()["reason"]) == (408, "header-timeout")
            assert reply.json()["number"] == CATALOGUE["header-timeout"].number
            return await http.rest()

    halves = (b"GET /socket.io/?EIO=4", b"GET / HTTP/1.1\r\nHost: x\r\nA:", b"", body)
    assert await asyncio.gather(*map(given_up, halves)) == [b""] * len(halves)
    assert service.metric(counter) == before + len(halves)
    await polling.send("42[1]")


async def test_an_endless_header(service: MoorageProcess) -> None:
    async with await HttpConnection.open(service.url) as http:
        await http.send(b"GET / HTTP/1.1\r\nA: ")
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                await http.send(b"x" * 65536)


async def test_thousands_of_pipelined_requests(service: MoorageProcess) -> None:
    """Unread answers must not accumulate, and the requests behind them must not be read."""
    async with await HttpConnection.open(service.url) as http:
        http.writer.write(request_bytes("GET", "/metrics") * 5000)
        reply = await http.reply()
        assert reply.status == 200
        assert service.metric("moorage_connects_total") >= 0


async def test_requests_with_too_many_query_parameters(service: MoorageProcess, hub: str) -> None:
    reply = await WebSocket.refused(service.url, clients(hub) + "?" + "a=1&" * 1_100)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-request")
    reply = await fetch(service.url, clients(hub) + "?" + "a=1&" * 1_100)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-request")


# -- requests that are not Engine.IO ------------------------------------------------------------------------


async def test_unknown_sessions(service: MoorageProcess, hub: str, app: AppServer) -> None:
    for sid in ("x", "%00", "%FF", "a" * 5000, "../../etc/passwd", "' or 1 eq 1"):
        target = f"{clients(hub)}{OPEN}&sid={sid.replace(' ', '+')}"
        for method in ("GET", "POST"):
            reply = await fetch(service.url, target, method=method)
            assert (reply.status, reply.json()["reason"]) == (400, "unknown-sid")
        reply = await WebSocket.refused(service.url, target.replace("polling", "websocket"))
        assert (reply.status, reply.json()["reason"]) == (400, "unknown-sid")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "x", "é"])
async def test_odd_content_types(polling: Polling, content_type: str) -> None:
    reply = await polling.post("42[1]", content_type)
    assert (reply.status, reply.text) == (200, "ok")


async def test_duplicate_polls(service: MoorageProcess, polling: Polling) -> None:
    replies = await asyncio.gather(*(polling.get() for _ in range(20)))
    assert sorted({reply.status for reply in replies}) == [200, 400]
    await ended(service, polling.sid, "duplicate-poll")


async def test_duplicate_posts(service: MoorageProcess, polling: Polling, app: AppServer) -> None:
    app.on_message = lambda event: None
    replies = await asyncio.gather(*(polling.post("42[1]") for _ in range(10)))
    assert {reply.status for reply in replies} <= {200, 400}
    await ended(service, polling.sid, "duplicate-post")


# -- packets, on both transports ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ([b"\xff\xfe"], "bad-packet"),
        ([b'42["\xc3\x28"]'], "bad-utf8"),
        ([b"40/\xff,"], "bad-utf8"),
        ([b"4510000-[]"], "too-many-attachments"),
        ([b'4510000-["x"]', b"bAA=="], "too-many-attachments"),
        ([b"4511-[]"], "too-many-attachments"),
        ([b"45" + b"9" * 1000 + b"-[]"], "bad-socketio-packet"),
        ([b"451-[]", b"42[]"], "missing-attachment"),
        ([b"451-[]", b"451-[]"], "missing-attachment"),
        ([b"bAA=="], "unexpected-binary"),
        ([b"451-[]", b"bA"], "bad-packet"),
        ([b"40", b"40"], "duplicate-connect"),
        ([b"40/%d," % n for n in range(101)], "too-many-namespaces"),
        ([b"40/" + b"n" * 513 + b","], "bad-socketio-packet"),
        ([b"48"], "bad-socketio-packet"),
        ([b"4"], "bad-socketio-packet"),
        ([b"44{}"], "bad-socketio-packet"),
        ([b"x" * 100_000], "bad-packet"),
        pytest.param([b'42["\x00"]'], "bad-packet", marks=pytest.mark.repair(2)),
        pytest.param([b'42["x",\x0b1]'], "bad-packet", marks=pytest.mark.repair(2)),
        pytest.param([b"40/a\x1fb,"], "bad-packet", marks=pytest.mark.repair(2)),
        pytest.param([b"3\x01"], "bad-packet", marks=pytest.mark.repair(2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_broken_packets(
    service: MoorageProcess, socket: WebSocket, polling: Polling, packets: list[bytes], reason: str
) -> None:
    await socket.raw(b"".join(frame(TEXT, packet) for packet in packets))
    _, end = await socket.ended()
    assert end == (CATALOGUE[reason].ws, reason)
    await ended(service, socket.sid, reason)
    await polling.post(b"\x1e".join(packets))
    await ended(service, polling.sid, reason)


async def test_ack_ids_of_all_sizes(socket: WebSocket, polling: Polling) -> None:
    for number in (0, 2**30 - 1, 2**30, 2**31, 2**53, 10**16 - 1):
        await socket.send(f"43{number}[]")
        await polling.send(f"43{number}[]")
    await socket.send('42["x"]')
    assert await socket.text() == '42["x"]'


@pytest.mark.repair(2)
@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ('42["x"]\x1e41', "bad-packet"),
        ('42["x"]\x1e40/other,', "bad-packet"),
        ("431073741824[]\x1e41", "bad-packet"),
        ("41/\x1e40", "bad-packet"),
        ("400-/other,", "bad-socketio-packet"),
        ("43 7[]", "bad-socketio-packet"),
        ("43" + "9" * 100 + "[]", "bad-socketio-packet"),
    ],
)
async def test_a_packet_inside_a_packet(
    service: MoorageProcess, socket: WebSocket, app: AppServer, packet: str, reason: str
) -> None:
    seen: list[str] = []
    app.on_message = lambda event: seen.append(event.content)
    await socket.send(packet)
    _, end = await socket.ended()
    assert end == (CATALOGUE[reason].ws, reason)
    await ended(service, socket.sid, reason)
    assert seen == []


async def test_a_million_packets_in_one_payload(service: MoorageProcess, polling: Polling) -> None:
    reply = await polling.post(b"6\x1e" * 499_999 + b"6")
    assert (reply.status, reply.json()["reason"]) == (413, "too-many-packets")
    await ended(service, polling.sid, "too-many-packets")


async def test_a_payload_of_separators(service: MoorageProcess, polling: Polling) -> None:
    assert (await polling.post(b"\x1e" * 999_999)).status == 413


async def test_a_million_tiny_messages(socket: WebSocket) -> None:
    for _ in range(20):
        await socket.raw(frame(TEXT, b"6") * 50_000)
    await socket.send('42["after"]')
    assert await socket.text() == '42["after"]'


async def test_oversize_payloads(service: MoorageProcess, socket: WebSocket, polling: Polling) -> None:
    reply = await polling.post(b"4" * 1_000_001)
    assert (reply.status, reply.json()["reason"]) == (413, "payload-too-large")
    async with await HttpConnection.open(service.url) as http:
        await http.send(request_bytes("POST", polling.target, {"Content-Length": str(10**15)}))
        assert (await http.reply()).status == 413
    await socket.raw(frame(TEXT, b"4", size=2**40))
    assert (await socket.ended())[1].code == 1009
    await ended(service, socket.sid, "payload-too-large")


# -- WebSocket frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"6", masked=False), 1002),
        (frame(TEXT, b"6", rsv=4), 1002),
        (frame(TEXT, b"6", rsv=2), 1002),
        (frame(TEXT, b"6", rsv=1), 1002),
        (frame(BINARY, b"6", rsv=1), 1002),
        (frame(0x3, b"6"), 1002),
        (frame(0x7, b"6"), 1002),
        (frame(0xB, b"6"), 1002),
        (frame(0xF, b"6"), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"x" * 126), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, (999).to_bytes(2, "big")), 1002),
        (frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"), 1007),
        (frame(CONTINUATION, b"6"), 1002),
        (frame(TEXT, b"6", fin=False) + frame(TEXT, b"6"), 1002),
        (frame(TEXT, b"6", fin=False) + frame(BINARY, b"6", fin=False), 1002),
        (b"\x81\xfe\x00\x05" + b"\x00" * 9, 1002),
        (b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05" + b"\x00" * 9, 1002),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" + b"\x00" * 4, 1002),
    ],
)
async def test_broken_frames(service: MoorageProcess, socket: WebSocket, data: bytes, code: int) -> None:
    await socket.raw(data)
    assert (await socket.ended())[1].code == code
    await ended(service, socket.sid, "bad-frame")


async def test_a_flood_of_fragments(service: MoorageProcess, socket: WebSocket) -> None:
    await socket.raw(frame(TEXT, b"", fin=False))
    with suppress(ConnectionError):
        for _ in range(20):
            await socket.raw(frame(CONTINUATION, b"", fin=False) * 50_000)
    await ended(service, socket.sid, "fragment-flood")


async def test_random_frames(service: MoorageProcess, hub: str, app: AppServer) -> None:
    noise = random.Random(9)
    for _ in range(40):
        async with await WebSocket.session(service.url, clients(hub)) as socket:
            with suppress(ConnectionError):
                await socket.raw(noise.randbytes(noise.choice([2, 20, 2000])))
                await socket.raw(frame(noise.choice([TEXT, BINARY]), noise.randbytes(50)))


# -- clients that do not read their answers ------------------------------------------------------------


async def test_one_slow_client_among_many(service: MoorageProcess, hub: str, app: AppServer) -> None:
    slow = await WebSocket.session(service.url, clients(hub))
    others = [await WebSocket.session(service.url, clients(hub)) for _ in range(5)]
    idle = await Polling(service.url, clients(hub)).open()
    before = service.metric("moorage_slow_client_closes_total")
    packet = f'42["{"x" * 100_000}"]'
    sent = 0
    while service.metric("moorage_slow_client_closes_total") < before + 2:
        for _ in range(10):
            await app.send_all(packet)
        for other in others:
            for _ in range(10):
                assert await other.text() == packet
        sent += 10
        assert sent < 1000
    await ended(service, slow.sid, "slow-client")
    await ended(service, idle.sid, "slow-client")
    assert await idle.let_go() == "unknown-sid", "as natively: nothing is kept for it"
    for one in (slow, *others):
        await one.http.close()


async def test_a_client_that_echoes_to_itself_and_never_reads(
    service: MoorageProcess, socket: WebSocket
) -> None:
    packet = f'42["{"x" * 100_000}"]'
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                await socket.send(packet)
    await ended(service, socket.sid, "slow-client")
