"""Links of the moorage dialect to a running service: who may open one, and all that may happen to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import jwt
import pytest

from moorage.wire.moorage import v1
from tests.support.app_link import tunnel_token, tunnel_url
from tests.support.rawhttp import clients
from tests.support.rawws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import PROTOCOL, TunnelLink, greeting, target


@pytest.fixture
async def by_hand(service: MoorageProcess, hub: str) -> AsyncIterator[WebSocket]:
    """A greeted link whose every byte a test decides; the service's hello is read."""
    async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        assert isinstance(v1.decode_from_service(await socket.binary()).frames[0], v1.ServiceHello)
        yield socket


async def batch_of(socket: WebSocket) -> v1.Batch[v1.FromService]:
    """The next batch that holds something."""
    while True:
        batch = v1.decode_from_service(await socket.binary())
        if batch.frames:
            return batch


async def ended(service: MoorageProcess, hub: str) -> str:
    """Why the link of a hub ended, by the log."""
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["dialect"] == "moorage"
    return str(record["reason"])


# -- 1. opening -------------------------------------------------------------------------------------------


async def test_the_dialect_is_agreed_upon(service: MoorageProcess, hub: str) -> None:
    for offered in ("moorage.v1", "moorage.v9, moorage.v1", "json,moorage.v1"):
        socket, reply = await WebSocket.ask(
            service.url, target(service, hub), {"Sec-WebSocket-Protocol": offered}
        )
        async with socket:
            assert (reply.status, reply.headers["sec-websocket-protocol"]) == (101, "moorage.v1")
            assert "sec-websocket-extensions" not in reply.headers


async def test_the_token_may_come_as_a_header(service: MoorageProcess, hub: str) -> None:
    headers = {**PROTOCOL, "Authorization": f"Bearer {tunnel_token(service, hub, 's')}"}
    async with await WebSocket.open(service.url, f"/server/tunnel?hub={hub}", headers) as socket:
        await socket.send(greeting())
        assert await socket.binary()


@pytest.mark.parametrize("scheme", ["ws", "wss", "http", "https"])
async def test_the_audiences_scheme_is_not_compared(service: MoorageProcess, hub: str, scheme: str) -> None:
    audience = tunnel_url(service, hub).replace("ws", scheme, 1)
    async with await WebSocket.open(service.url, target(service, hub, aud=audience), PROTOCOL):
        pass


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_000_000_000}, "token-expired"),
        ({"iat": 9_000_000_000}, "token-not-yet"),
        ({"sub": None}, "token-claims"),
        ({"sub": ""}, "token-claims"),
        ({"sub": "x" * 129}, "token-claims"),
        ({"aud": "ws://elsewhere.example/server/tunnel?hub=x"}, "token-audience"),
    ],
)
async def test_tokens_that_will_not_do(
    service: MoorageProcess, hub: str, claims: dict[str, object], reason: str
) -> None:
    counter = f'moorage_refusals_total{{door="link",reason="{reason}"}}'
    before = service.metric(counter)
    reply = await WebSocket.refused(service.url, target(service, hub, **claims), PROTOCOL)
    body = reply.json()
    assert (reply.status, body["reason"]) == (401, reason)
    assert body["number"] // 100 == 30 and body["message"]
    assert service.metric(counter) == before + 1


async def test_the_longest_id(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub, "x" * 128):
        pass


async def test_another_key(service: MoorageProcess, hub: str) -> None:
    claims = {"sub": "s", "exp": int(time.time()) + 60, "aud": tunnel_url(service, hub)}
    forged = jwt.encode(claims, "another key, of the right length.", "HS256")
    reply = await WebSocket.refused(service.url, f"/server/tunnel?hub={hub}&access_token={forged}", PROTOCOL)
    assert (reply.status, reply.json()["reason"]) == (401, "token-signature")


async def test_another_dialect_and_another_hub(service: MoorageProcess, hub: str) -> None:
    headers = {"Sec-WebSocket-Protocol": "moorage.v2"}
    reply = await WebSocket.refused(service.url, target(service, hub), headers)
    assert (reply.status, reply.json()["reason"]) == (400, "link-unknown-dialect")
    reply = await WebSocket.refused(service.url, target(service, "1"), PROTOCOL)
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")


async def test_a_hub_that_is_not_listed() -> None:
    flags = ("--set", "allow_unlisted_hubs=false", "--set", "hubs.app.anonymous=true")
    with MoorageProcess(*flags) as service:
        async with TunnelLink(service, "app"):
            for headers in (PROTOCOL, {}):
                reply = await WebSocket.refused(service.url, target(service, "other"), headers)
                assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")


# -- 2 and 3. batches, hello ------------------------------------------------------------------------------


async def test_nothing_is_sent_before_the_hello(service: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
        await socket.raw(frame(PING, b"?"))
        assert await socket.frame() == Frame(PONG, b"?")
        assert service.metric(f'moorage_tunnel_connections{{dialect="moorage",hub="{hub}"}}') == 0


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(TEXT, b"hello"), 1002, "link-bad-frame"),
        (frame(BINARY, b""), 1002, "link-bad-frame"),
        (frame(BINARY, v1.encode_batch(0, 0, [])), 1002, "link-bad-frame"),
        (frame(BINARY, v1.encode_batch(1, 0, [b"\x92\x2b\x01"])), 1002, "link-bad-frame"),
        (frame(BINARY, greeting(revision=0)), 1002, "link-version"),
    ],
    ids=["text", "empty", "ack", "list", "revision"],
)
async def test_what_is_no_hello(
    service: MoorageProcess, hub: str, data: bytes, code: int, reason: str
) -> None:
    async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
        await socket.raw(data * 20)
        assert (await socket.ended())[1] == (code, reason)
    assert await ended(service, hub) == reason
    said = [line for line in service.lines if '"link refused"' in line and f'"{hub}"' in line]
    assert len(said) == 1, "one line, not 20"


GARBAGE = {
    "text": frame(TEXT, b"hello"),
    "empty": frame(BINARY, b""),
    "noise": frame(BINARY, b"\xc1\xff\x00"),
    "deep": frame(BINARY, b"\x93\x01\x00" + b"\x91" * 100_000),
    "gap": frame(BINARY, v1.encode_batch(7, 0, [])),
    "ack": frame(BINARY, v1.encode_batch(1, 99, [])),
    "unknown-frame": frame(BINARY, v1.encode_batch(1, 0, [b"\x91\x7f"])),
    "frames-without-number": frame(BINARY, v1.encode_batch(0, 0, [b"\x92\x2b\x01"])),
    "continuation": frame(CONTINUATION, b"of nothing"),
    "fragments": frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 2_000,
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_ends_link_and_session(
    service: MoorageProcess, hub: str, by_hand: WebSocket, name: str
) -> None:
    """By then there is nothing to resume: the same bytes would come again."""
    client = asyncio.create_task(WebSocket.session(service.url, clients(hub)))
    (opened,) = (await batch_of(by_hand)).frames
    assert isinstance(opened, v1.Open)
    await by_hand.send(v1.encode_batch(1, 1, [v1.encode_frame(v1.Opened(opened.client, 9_000, 9_000, 999))]))
    async with await client as socket:
        await by_hand.raw(GARBAGE[name].replace(b"\x93\x01", b"\x93\x02") * 3)
        assert (await by_hand.ended())[1] == (1002, "link-bad-frame")
        assert (await socket.ended())[1] == (1012, "app-lost")
    assert await ended(service, hub) == "link-bad-frame"


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(BINARY, b"x", masked=False), 1002, "link-bad-frame"),
        (frame(0x3, b"x"), 1002, "link-bad-frame"),
        (frame(PING, b"x" * 126), 1002, "link-bad-frame"),
        (frame(CLOSE, b"\x03"), 1002, "link-bad-frame"),
        (frame(BINARY, b"", size=17 * 1024 * 1024), 1009, "link-frame-too-large"),
    ],
    ids=["unmasked", "opcode", "long-ping", "half-a-code", "huge"],
)
async def test_broken_websocket_frames_end_both_too(
    service: MoorageProcess, hub: str, by_hand: WebSocket, data: bytes, code: int, reason: str
) -> None:
    await by_hand.raw(data)
    assert (await by_hand.ended())[1].code == code
    assert await ended(service, hub) == reason
    record = await asyncio.to_thread(service.wait_record, event="app server broke the protocol", hub=hub)
    assert record["level"] == "warning"


async def test_fragments_that_are_too_large_together(hub: str) -> None:
    with MoorageProcess("--set", "links.max_frame=64KiB") as service:
        async with TunnelLink(service, hub) as link:
            assert link.hello.max_batch == 65_536
        async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
            await socket.send(greeting())
            await socket.binary()
            part = b"x" * 40_000
            await socket.raw(frame(BINARY, part, fin=False) + frame(CONTINUATION, part))
            assert (await socket.ended())[1] == (1009, "link-frame-too-large")


async def test_a_batch_in_fragments_between_pings(by_hand: WebSocket) -> None:
    data = v1.encode_batch(1, 0, [v1.encode_frame(v1.List(5))])
    await by_hand.raw(frame(BINARY, data[:3], fin=False) + frame(PING, b"p"))
    await by_hand.raw(frame(CONTINUATION, data[3:4], fin=False) + frame(CONTINUATION, data[4:]))
    assert await by_hand.frame() == Frame(PONG, b"p")
    (servers,) = (await batch_of(by_hand)).frames
    assert isinstance(servers, v1.Servers)


async def test_many_batches_in_one_read_are_answered_in_one(by_hand: WebSocket) -> None:
    batches = [v1.encode_batch(n, 0, [v1.encode_frame(v1.List(n))]) for n in range(1, 21)]
    await by_hand.raw(b"".join(frame(BINARY, data) for data in batches))
    batch = await batch_of(by_hand)
    assert (batch.ack, len(batch.frames)) == (20, 20)


async def test_a_second_hello_is_refused_and_harms_nothing(link: TunnelLink) -> None:
    await link.say(v1.AppHello(1, "again", "", 0, 1 << 22))
    assert (await link.next(v1.Failed)).reason == "link-bad-request"
    await link.say(v1.List(1))
    assert await link.next(v1.Servers)


async def test_credit_of_the_app_server(quick: MoorageProcess, hub: str) -> None:
    """What it does not acknowledge stays with the service, which stops reading from who speaks."""
    async with (
        TunnelLink(quick, hub, window=64 * 1024) as link,
        await WebSocket.session(quick.url, clients(hub)) as client,
    ):
        await link.next(v1.Open)
        link.acks = False
        packet = frame(TEXT, b'42["' + b"x" * 8_000 + b'"]')

        async def talk() -> None:
            for _ in range(3_000):
                client.http.writer.write(packet)
                await client.http.writer.drain()

        talking = asyncio.create_task(talk())
        async with asyncio.timeout(30):
            while link.inc.untaken < 64 * 1024:
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait((talking,), timeout=1)
        assert not done, "held back"
        assert link.inc.untaken <= 64 * 1024 + 256 * 1024
        link.acks = True
        link.inc.take_all()
        await link.ack()
        await talking
        for _ in range(3_000):
            await link.next(v1.Packet)


async def test_credit_of_the_service(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        assert link.hello.window == 65_536
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            for number in range(100):
                await link.say(v1.Packet(next(iter(link.clients)), b'42["%b",%d]' % (b"x" * 10_000, number)))
            # More than the window; each batch waits for the acknowledgement of those before it.
            for number in range(100):
                assert (await client.text()).endswith(f",{number}]")


async def test_acknowledgements_come_within_a_second(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        began = time.monotonic()
        await link.say(v1.Drain(0.0))
        while link.out.in_flight:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 5


async def test_keep_alive(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        await socket.binary()
        for _ in range(2):
            batch = v1.decode_from_service(await socket.binary())
            assert batch == (0, 0, [])


async def test_silence_ends_the_link_and_bytes_of_any_kind_do_not(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        await socket.binary()
        # A large message on a slow line: never complete, and never silent for long.
        told = v1.encode_frame(v1.Tell(0, "/", 0, b"x" * 60))
        for byte in frame(BINARY, v1.encode_batch(1, 0, [told]))[:10]:
            began = time.monotonic()
            await socket.raw(bytes([byte]))
            await asyncio.sleep(0.25)
        assert not [line for line in quick.lines if f'"{hub}"' in line and "link ended" in line]
        assert (await socket.ended())[1] == (1001, "link-silent")
        assert 1.2 < time.monotonic() - began < 10
    assert await ended(quick, hub) == "link-silent"


async def test_a_link_without_a_hello_is_closed(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        assert (await socket.ended())[1] == (1001, "link-silent")
