"""Links of the moorage dialect to a running service: who may open one, and all that may happen to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import WebSocketException

from moorage.wire import tunnel
from moorage.wire.tunnel import To
from tests.support.app_link import AppServer, tunnel_token, tunnel_url
from tests.support.cutting import Cutter
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink

PROTOCOL = {"Sec-WebSocket-Protocol": tunnel.SUBPROTOCOL}
SMALL = ("--set", "links.window=65536", "--set", "links.heartbeat=500ms", "--set", "links.grace=2s")
_hubs = itertools.count(1)


def target(service: MoorageProcess, hub: str, **claims: object) -> str:
    """A link's request target, with a token."""
    return f"/server/tunnel?hub={hub}&access_token={tunnel_token(service, hub, 'by-hand', **claims)}"


def greeting(session: str = "", revision: int = tunnel.REVISION) -> bytes:
    """A hello, as a message."""
    hello = tunnel.AppHello(revision, "test", session, 0, 1 << 22)
    return tunnel.encode_batch(0, 0, [tunnel.encode_frame(hello)])


@pytest.fixture
async def link(service: MoorageProcess, hub: str) -> AsyncIterator[TunnelLink]:
    """An app server of `hub` that takes every client."""
    async with TunnelLink(service, hub) as running:
        yield running


@pytest.fixture
async def by_hand(service: MoorageProcess, hub: str) -> AsyncIterator[WebSocket]:
    """A greeted link whose every byte a test decides; the service's hello is read."""
    async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        assert isinstance(tunnel.decode_from_service(await socket.binary()).frames[0], tunnel.ServiceHello)
        yield socket


@pytest.fixture(scope="module")
def quick() -> Iterator[MoorageProcess]:
    """A service that is quick to give up, and with little credit."""
    with MoorageProcess(*SMALL) as running:
        yield running


async def batch_of(socket: WebSocket) -> tunnel.Batch[tunnel.FromService]:
    """The next batch that holds something."""
    while True:
        batch = tunnel.decode_from_service(await socket.binary())
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
    reply = await WebSocket.refused(
        service.url, f"/server/tunnel?hub={hub}&access_token={forged}", PROTOCOL
    )
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


async def test_nothing_is_said_before_the_hello(service: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(service.url, target(service, hub), PROTOCOL) as socket:
        await socket.raw(frame(PING, b"?"))
        assert await socket.frame() == Frame(PONG, b"?")
        assert service.metric(f'moorage_tunnel_connections{{dialect="moorage",hub="{hub}"}}') == 0


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(TEXT, b"hello"), 1002, "link-bad-frame"),
        (frame(BINARY, b""), 1002, "link-bad-frame"),
        (frame(BINARY, tunnel.encode_batch(0, 0, [])), 1002, "link-bad-frame"),
        (frame(BINARY, tunnel.encode_batch(1, 0, [b"\x92\x2b\x01"])), 1002, "link-bad-frame"),
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
    said = [line for line in service.lines if '"bad frame"' in line and f'"{hub}"' in line]
    assert len(said) == 1, "one line, not 20"


GARBAGE = {
    "text": frame(TEXT, b"hello"),
    "empty": frame(BINARY, b""),
    "noise": frame(BINARY, b"\xc1\xff\x00"),
    "deep": frame(BINARY, b"\x93\x01\x00" + b"\x91" * 100_000),
    "gap": frame(BINARY, tunnel.encode_batch(7, 0, [])),
    "ack": frame(BINARY, tunnel.encode_batch(1, 99, [])),
    "unknown-frame": frame(BINARY, tunnel.encode_batch(1, 0, [b"\x91\x7f"])),
    "frames-without-number": frame(BINARY, tunnel.encode_batch(0, 0, [b"\x92\x2b\x01"])),
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
    assert isinstance(opened, tunnel.Open)
    await by_hand.send(tunnel.encode_batch(1, 1, [tunnel.encode_frame(tunnel.Opened(1, 9_000, 9_000, 999))]))
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
    data = tunnel.encode_batch(1, 0, [tunnel.encode_frame(tunnel.List(5))])
    await by_hand.raw(frame(BINARY, data[:3], fin=False) + frame(PING, b"p"))
    await by_hand.raw(frame(CONTINUATION, data[3:4], fin=False) + frame(CONTINUATION, data[4:]))
    assert await by_hand.frame() == Frame(PONG, b"p")
    (servers,) = (await batch_of(by_hand)).frames
    assert isinstance(servers, tunnel.Servers)


async def test_many_batches_in_one_read_are_answered_in_one(by_hand: WebSocket) -> None:
    batches = [tunnel.encode_batch(n, 0, [tunnel.encode_frame(tunnel.List(n))]) for n in range(1, 21)]
    await by_hand.raw(b"".join(frame(BINARY, data) for data in batches))
    batch = await batch_of(by_hand)
    assert (batch.ack, len(batch.frames)) == (20, 20)


async def test_a_second_hello_is_refused_and_harms_nothing(link: TunnelLink) -> None:
    await link.say(tunnel.AppHello(1, "again", "", 0, 1 << 22))
    assert (await link.next(tunnel.Failed)).reason == "link-bad-request"
    await link.say(tunnel.List(1))
    assert await link.next(tunnel.Servers)


async def test_credit_of_the_app_server(quick: MoorageProcess, hub: str) -> None:
    """What it does not acknowledge stays with the service, which stops reading from who speaks."""
    async with (
        TunnelLink(quick, hub, window=64 * 1024) as link,
        await WebSocket.session(quick.url, clients(hub)) as client,
    ):
        await link.next(tunnel.Open)
        link.acks = False
        packet = frame(TEXT, b'42["' + b"x" * 8_000 + b'"]')

        async def talk() -> None:
            for _ in range(3_000):
                client.http.writer.write(packet)
                await client.http.writer.drain()

        talking = asyncio.create_task(talk())
        done, _ = await asyncio.wait((talking,), timeout=1)
        assert not done, "held back"
        assert 64 * 1024 <= link.inc._untaken <= 64 * 1024 + 256 * 1024
        link.acks = True
        link.inc.take_all()
        await link.ack()
        await talking
        for _ in range(3_000):
            await link.next(tunnel.Packet)


async def test_credit_of_the_service(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        assert link.hello.window == 65_536
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            for number in range(100):
                await link.say(tunnel.Packet(1, b'42["%b",%d]' % (b"x" * 10_000, number)))
            # More than the window; each batch waits for the acknowledgement of those before it.
            for number in range(100):
                assert (await client.text()).endswith(f",{number}]")


async def test_acknowledgements_come_within_a_second(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        began = time.monotonic()
        await link.say(tunnel.Drain(0.0))
        while link.out.in_flight:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1.5


async def test_keep_alive(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        await socket.binary()
        for _ in range(2):
            batch = tunnel.decode_from_service(await socket.binary())
            assert batch == (0, 0, [])


async def test_silence_ends_the_link_and_bytes_of_any_kind_do_not(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        await socket.send(greeting())
        await socket.binary()
        # A large message on a slow line: never complete, and never silent for long.
        told = tunnel.encode_frame(tunnel.Tell(0, "/", 0, b"x" * 60))
        for byte in frame(BINARY, tunnel.encode_batch(1, 0, [told]))[:10]:
            await socket.raw(bytes([byte]))
            await asyncio.sleep(0.25)
        assert not [line for line in quick.lines if f'"{hub}"' in line and "link ended" in line]
        began = time.monotonic()
        assert (await socket.ended())[1] == (1001, "link-silent")
        assert 1.0 < time.monotonic() - began < 4.0
    assert await ended(quick, hub) == "link-silent"


async def test_who_does_not_greet_is_cut_off(quick: MoorageProcess, hub: str) -> None:
    async with await WebSocket.open(quick.url, target(quick, hub), PROTOCOL) as socket:
        assert (await socket.ended())[1] == (1001, "link-silent")


# -- cuts -------------------------------------------------------------------------------------------------


async def test_a_cut_is_resumed(service: MoorageProcess, hub: str, link: TunnelLink) -> None:
    resumes = service.metric("moorage_tunnel_resumes_total")
    name = f'moorage_tunnel_connections{{dialect="moorage",hub="{hub}"}}'
    async with await WebSocket.session(service.url, clients(hub)) as client:
        await link.next(tunnel.Open)
        assert service.metric(name) == 1
        await link.cut()
        await client.send("42[1]")
        await asyncio.to_thread(service.wait_record, event="link ended", hub=hub, reason="link-lost")
        assert service.metric(name) == 0
        await link.say(tunnel.Packet(1, b"42[2]"))
        await link.dial(link.hello.session)
        assert link.hello.resumed
        assert (await link.next(tunnel.Packet)).payload == b"42[1]"
        assert await client.text() == "42[2]"
    assert service.metric(name) == 1
    assert service.metric("moorage_tunnel_resumes_total") == resumes + 1


async def test_a_cut_for_longer_than_the_grace_time(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        session = link.hello.session
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            await link.cut()
            began = time.monotonic()
            assert (await client.ended())[1] == (1012, "app-lost")
            assert 1.9 < time.monotonic() - began < 4.0
        await asyncio.to_thread(quick.wait_record, event="app server lost", hub=hub)
        await link.dial(session)
        assert not link.hello.resumed
        async with await WebSocket.session(quick.url, clients(hub)):
            assert (await link.next(tunnel.Open)).client == 1


async def test_a_farewell_sends_clients_away_at_once(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub, "going") as link, TunnelLink(service, hub, "staying") as other:
        await other.say(tunnel.Drain(0.0), tunnel.List(1))
        await other.next(tunnel.Servers)
        async with await WebSocket.session(service.url, clients(hub)) as client:
            await link.next(tunnel.Open)
            began = time.monotonic()
            await link.hang_up()
            assert (await client.ended())[1] == (1012, "app-lost")
            assert time.monotonic() - began < 3.0


async def test_a_new_link_replaces_the_old_one(service: MoorageProcess, hub: str) -> None:
    async with (
        TunnelLink(service, hub, "s1") as link,
        await WebSocket.session(service.url, clients(hub)) as client,
    ):
        await link.next(tunnel.Open)
        old, old_ended = link.socket, asyncio.create_task(link.ended())
        await asyncio.sleep(0)
        await link.dial(link.hello.session)
        assert link.hello.resumed
        await old_ended
        assert (old.close_code, old.close_reason) == (1001, "link-replaced")
        await client.send("42[1]")
        assert (await link.next(tunnel.Packet)).payload == b"42[1]"


@pytest.mark.parametrize("dialect", ["moorage", "azure"])
async def test_an_id_in_use(service: MoorageProcess, hub: str, dialect: str) -> None:
    first: TunnelLink | AppServer
    first = TunnelLink(service, hub, "s1") if dialect == "moorage" else AppServer(service, hub, "s1")
    async with first:
        second = f"/server/tunnel?hub={hub}&access_token={tunnel_token(service, hub, 's1')}"
        async with await WebSocket.open(service.url, second, PROTOCOL) as socket:
            await socket.send(greeting())
            assert (await socket.ended())[1] == (1008, "link-server-taken")
        if dialect == "moorage":
            reply = await WebSocket.refused(service.url, second)
            assert (reply.status, reply.json()["reason"]) == (409, "link-server-taken")
        async with await WebSocket.session(service.url, clients(hub)):
            pass


async def test_an_id_that_comes_back_in_the_other_dialect(service: MoorageProcess, hub: str) -> None:
    link = TunnelLink(service, hub, "s1")
    await link.dial()
    async with await WebSocket.session(service.url, clients(hub)) as client:
        await link.cut()
        async with AppServer(service, hub, "s1"):
            assert (await client.ended())[1] == (1012, "app-lost")
            async with await WebSocket.session(service.url, clients(hub)) as again:
                await again.send('42["x"]')
                assert await again.text() == '42["x"]'
                # The old session is gone, and the id is another's now.
                async with await WebSocket.open(
                    service.url,
                    f"/server/tunnel?hub={hub}&access_token={tunnel_token(service, hub, 's1')}",
                    PROTOCOL,
                ) as socket:
                    await socket.send(greeting(link.hello.session))
                    assert (await socket.ended())[1] == (1008, "link-server-taken")
        async with TunnelLink(service, hub, "s1") as back:
            assert not back.hello.resumed


class Numbered:
    """An app server behind a hop that breaks, and its clients: each counts what it says, and keeps
    what it hears."""

    def __init__(self, link: TunnelLink, sockets: list[WebSocket], said: int) -> None:
        self.link = link
        self.sockets = sockets
        self.said = said
        self.heard: dict[int, list[int]] = {number: [] for number in range(1, len(sockets) + 1)}
        self.connected = asyncio.Barrier(len(sockets) + 1)

    async def keep_up(self) -> None:
        """Dial again after each cut."""
        while True:
            await self.link.ended()
            while not self.link.up:
                with suppress(OSError, EOFError, WebSocketException):
                    await self.link.dial(self.link.hello.session)
                    assert self.link.hello.resumed

    async def listen(self) -> None:
        """Hear all that clients say."""
        while any(len(numbers) < self.said for numbers in self.heard.values()):
            found = await self.link.next(tunnel.Packet)
            if found.payload.startswith(b"42"):
                self.heard[found.client].append(json.loads(found.payload[2:])[0])

    async def talk(self) -> None:
        """Say something to all, and to each, in turn."""
        for number in range(self.said):
            if number % 2:
                await self.link.say(tunnel.Emit(0, To("/"), 0, b"42[%d]" % number))
            else:
                await self.link.say(*[tunnel.Packet(client, b"42[%d]" % number) for client in self.heard])
            await asyncio.sleep(0.001)

    async def client(self, socket: WebSocket) -> list[int]:
        """Talk, and hear all that the app server says."""
        await socket.send("40")
        assert (await socket.text()).startswith("40")
        await self.connected.wait()
        for number in range(self.said):
            await socket.send(f'42[{number},"{"x" * (number % 7) * 300}"]')
        return [json.loads((await socket.text())[2:])[0] for _ in range(self.said)]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budgets=st.lists(st.integers(250, 60_000), min_size=1, max_size=6))
def test_cuts_anywhere_lose_and_reorder_nothing(quick: MoorageProcess, budgets: list[int]) -> None:
    asyncio.run(asyncio.wait_for(cut_at(quick, budgets), 30))


async def cut_at(service: MoorageProcess, budgets: list[int]) -> None:
    """One play with cuts after so many bytes each."""
    hub = f"cuts_{next(_hubs)}"
    async with Cutter(service.url, budgets) as cutter, TunnelLink(service, hub, window=64 * 1024) as link:
        sockets = [await WebSocket.session(service.url, clients(hub)) for _ in range(3)]
        run = Numbered(link, sockets, said=100)
        playing = [asyncio.create_task(run.client(socket)) for socket in sockets]
        await run.connected.wait()
        link.port = cutter.port
        link.socket.transport.abort()
        keeping = asyncio.create_task(run.keep_up())
        await asyncio.gather(run.listen(), run.talk())
        expected = list(range(run.said))
        assert await asyncio.gather(*playing) == [expected] * 3
        assert list(run.heard.values()) == [expected] * 3
        assert cutter.cuts > 0
        keeping.cancel()
        await asyncio.wait((keeping,))
        for socket in sockets:
            await socket.http.close()


# -- heartbeats -------------------------------------------------------------------------------------------


async def test_the_service_pings_over_a_websocket(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub) as link:
        link.terms = (300, 400, 1_000_000)
        async with await WebSocket.session(service.url, clients(hub)) as client:
            assert (client.info["pingInterval"], client.info["pingTimeout"]) == (300, 400)
            for _ in range(2):
                began = time.monotonic()
                assert await client.text() == "2"
                assert time.monotonic() - began > 0.2
                await client.send("3")
            await client.send('42["x"]')
            assert (await link.next(tunnel.Packet)).payload == b'42["x"]', "no pongs among them"
            # Now it is silent.
            assert (await client.ended())[1] == (1001, "ping-timeout")
            closed = await link.next(tunnel.Closed)
            assert (closed.number, closed.reason, closed.cause) == (1109, "ping-timeout", "ping timeout")


async def test_the_service_pings_by_polling(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub) as link:
        link.terms = (300, 500, 1_000_000)
        client = await Polling(service.url, clients(hub)).open()
        for _ in range(2):
            assert await client.poll() == "2"
            await client.send("3")
        # It polls, and does not answer: the pings come, and then the end.
        polls = [await client.poll() for _ in range(2)]
        assert polls == ["2", "6\x1e1"]
        assert (await link.next(tunnel.Closed)).cause == "ping timeout"


async def test_an_upgrade_in_the_middle_of_a_ping(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub) as link:
        link.terms = (300, 5_000, 1_000_000)
        client = await Polling(service.url, clients(hub)).open()
        path = f"{clients(hub)}?EIO=4&transport=websocket&sid={client.sid}"
        async with await WebSocket.open(service.url, path) as socket:
            await socket.send("2probe")
            assert await socket.text() == "3probe"
            # The ping finds no poll; it comes by the new transport.
            await asyncio.sleep(0.8)
            await socket.send("5")
            assert await socket.text() == "2"
            await socket.send("3")
            assert await socket.text() == "2"


async def test_an_app_server_that_hangs_does_not_cost_its_clients_their_heartbeat(
    quick: MoorageProcess, hub: str
) -> None:
    """Held back, a client cannot be heard: that is not its fault."""
    async with TunnelLink(quick, hub, window=64 * 1024) as link:
        link.terms = (300, 300, 1_000_000)
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            await link.next(tunnel.Open)
            link.acks = False
            packet = frame(TEXT, b'42["' + b"x" * 8_000 + b'"]')
            for _ in range(30):
                client.http.writer.write(packet)
            # It answers pings all the while, behind what is not read.
            keep = asyncio.create_task(_answer_pings(client))
            for _ in range(5):
                await asyncio.sleep(0.25)
                await link.ack()
            link.acks = True
            link.inc.take_all()
            await link.ack()
            for _ in range(30):
                await link.next(tunnel.Packet)
            await client.send('42["still here"]')
            assert b"still here" in (await link.next(tunnel.Packet)).payload
            keep.cancel()


async def _answer_pings(client: WebSocket) -> None:
    while True:
        if await client.text() == "2":
            await client.send("3")


# -- the service stops ------------------------------------------------------------------------------------


async def test_a_stop() -> None:
    flags = ("--set", "shutdown.grace=300ms", "--set", "shutdown.spread=200ms")
    with MoorageProcess(*flags) as service:
        async with TunnelLink(service, "app") as link:
            async with await WebSocket.session(service.url, "/socket.io/") as client:
                service.signal(signal.SIGTERM)
                assert await link.next(tunnel.Drain) == tunnel.Drain(0.5)
                reply = await WebSocket.refused(service.url, target(service, "app"), PROTOCOL)
                assert (reply.status, reply.json()["reason"]) == (503, "draining")
                await link.say(tunnel.Packet(1, b'42["bye"]'))
                texts, end = await client.ended()
                assert ('42["bye"]' in texts, end) == (True, (1001, "draining"))
                closed = await link.next(tunnel.Closed)
                assert (closed.reason, closed.cause) == ("draining", "server shutting down")
            await link.ended()
            assert link.socket.close_code == 1001
            assert link.socket.close_reason == "draining"
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert not [line for line in service.lines if "Traceback" in line or '"level": "error"' in line]


async def test_a_stop_with_answers_under_way() -> None:
    """Whatever is queued in that moment: the stop goes on to its end."""
    with MoorageProcess("--set", "shutdown.grace=0s", "--set", "shutdown.spread=0s") as service:
        async with TunnelLink(service, "app") as link:
            sockets = [await WebSocket.session(service.url, "/socket.io/") for _ in range(20)]
            service.signal(signal.SIGTERM)
            while link.up:
                await link.say(*[tunnel.List(n) for n in range(1, 50)])
                await asyncio.sleep(0)
            for socket in sockets:
                await socket.ended()
                await socket.http.close()
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert not [line for line in service.lines if "Traceback" in line or '"level": "error"' in line]
