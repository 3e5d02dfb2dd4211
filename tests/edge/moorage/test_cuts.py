"""A running service's links and clients in bad times: cuts, takeovers, silent clients, stops."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import WebSocketException

from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.support.app_link import AppServer, tunnel_token
from tests.support.cutting import Cutter
from tests.support.examples import WITH_FIXTURES
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import PROTOCOL, TunnelLink, greeting, target

_hubs = itertools.count(1)


# -- cuts -------------------------------------------------------------------------------------------------


async def test_a_cut_is_resumed(service: MoorageProcess, hub: str, link: TunnelLink) -> None:
    resumes = service.metric("moorage_tunnel_resumes_total")
    name = f'moorage_tunnel_connections{{dialect="moorage",hub="{hub}"}}'
    async with await WebSocket.session(service.url, clients(hub)) as client:
        await link.next(v1.Open)
        assert service.metric(name) == 1
        await link.cut()
        await client.send("42[1]")
        await asyncio.to_thread(service.wait_record, event="link ended", hub=hub, reason="link-lost")
        assert service.metric(name) == 0
        await link.say(v1.Packet(next(iter(link.clients)), b"42[2]"))
        await link.dial(link.hello.session)
        assert link.hello.resumed
        assert (await link.next(v1.Packet)).payload == b"42[1]"
        assert await client.text() == "42[2]"
    for resumed in (False, True):
        await asyncio.to_thread(service.wait_record, event="link opened", hub=hub, resumed=resumed)
    assert service.metric(name) == 1
    assert service.metric("moorage_tunnel_resumes_total") == resumes + 1


async def test_a_cut_for_longer_than_the_grace_time(quick: MoorageProcess, hub: str) -> None:
    async with TunnelLink(quick, hub) as link:
        session = link.hello.session
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            old = (await link.next(v1.Open)).client
            began = time.monotonic()
            await link.cut()
            assert (await client.ended())[1] == (1012, "app-lost")
            assert 1.9 < time.monotonic() - began < 4.9
        await asyncio.to_thread(quick.wait_record, event="app server lost", hub=hub)
        await link.dial(session)
        assert not link.hello.resumed
        async with await WebSocket.session(quick.url, clients(hub)):
            assert (await link.next(v1.Open)).client > old


async def test_a_farewell_sends_clients_away_at_once(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub, "going") as link, TunnelLink(service, hub, "staying") as other:
        await other.say(v1.Drain(0.0), v1.List(1))
        await other.next(v1.Servers)
        async with await WebSocket.session(service.url, clients(hub)) as client:
            await link.next(v1.Open)
            began = time.monotonic()
            await link.hang_up()
            assert (await client.ended())[1] == (1012, "app-lost")
            assert time.monotonic() - began < 4.9, "less than the grace time"


@pytest.mark.parametrize("sent", [[], ["2probe"], ["2probe", "5"]], ids=["asked", "probed", "upgraded"])
async def test_a_farewell_during_an_upgrade(service: MoorageProcess, hub: str, sent: list[str]) -> None:
    """The client learns of the end at once: from its poll, or from the WebSocket if it polls no more."""
    async with TunnelLink(service, hub) as link:
        polling = await Polling(service.url, clients(hub)).open()
        async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
            if sent:
                await socket.send("2probe")
                assert await socket.text() == "3probe"
            await link.hang_up()
            if "5" in sent:
                await socket.send("5")
                assert await socket.ended() == ([], (1012, "app-lost"))
                return
            while (reply := await polling.get()).status == 200:
                assert reply.body == b"6"
            assert (reply.status, reply.json()["reason"]) == (400, "app-lost")


async def test_a_new_link_replaces_the_old_one(service: MoorageProcess, hub: str) -> None:
    async with (
        TunnelLink(service, hub, "s1") as link,
        await WebSocket.session(service.url, clients(hub)) as client,
    ):
        await link.next(v1.Open)
        old, old_ended = link.socket, asyncio.create_task(link.ended())
        await asyncio.sleep(0)
        await link.dial(link.hello.session)
        assert link.hello.resumed
        await old_ended
        assert (old.close_code, old.close_reason) == (1001, "link-replaced")
        await client.send("42[1]")
        assert (await link.next(v1.Packet)).payload == b"42[1]"


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
        self.heard: dict[int, list[int]] = {number: [] for number in link.clients}
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
            found = await self.link.next(v1.Packet)
            if found.payload.startswith(b"42"):
                self.heard[found.client].append(json.loads(found.payload[2:])[0])

    async def talk(self) -> None:
        """Say something to all, and to each, in turn."""
        for number in range(self.said):
            if number % 2:
                await self.link.say(v1.Emit(0, To("/"), 0, b"42[%d]" % number))
            else:
                await self.link.say(*[v1.Packet(client, b"42[%d]" % number) for client in self.heard])
            await asyncio.sleep(0.001)

    async def client(self, socket: WebSocket) -> list[int]:
        """Talk, and hear all that the app server says."""
        await socket.send("40")
        assert (await socket.text()).startswith("40")
        await self.connected.wait()
        for number in range(self.said):
            await socket.send(f'42[{number},"{"x" * (number % 7) * 300}"]')
        return [json.loads((await socket.text())[2:])[0] for _ in range(self.said)]


@settings(max_examples=5, suppress_health_check=WITH_FIXTURES)
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
        link.terms = (300, 3_000, 1_000_000)
        async with await WebSocket.session(service.url, clients(hub)) as client:
            assert (client.info["pingInterval"], client.info["pingTimeout"]) == (300, 3_000)
            for _ in range(2):
                began = time.monotonic()
                assert await client.text() == "2"
                assert time.monotonic() - began > 0.2
                await client.send("3")
            await client.send('42["x"]')
            assert (await link.next(v1.Packet)).payload == b'42["x"]', "no pongs among them"
            # Now it is silent.
            assert (await client.ended())[1] == (1001, "ping-timeout")
            closed = await link.next(v1.Closed)
            assert (closed.number, closed.reason, closed.cause) == (1109, "ping-timeout", "ping timeout")


async def test_the_service_pings_by_polling(service: MoorageProcess, hub: str) -> None:
    async with TunnelLink(service, hub) as link:
        link.terms = (300, 3_000, 1_000_000)
        client = await Polling(service.url, clients(hub)).open()
        for _ in range(2):
            assert await client.poll() == "2"
            await client.send("3")
        # It polls, and does not answer: the pings come, and then the end.
        assert await client.poll() == "2"
        assert await client.let_go() == "ping-timeout"
        assert (await link.next(v1.Closed)).cause == "ping timeout"


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


async def test_clients_of_a_hanging_app_server_keep_their_heartbeat(quick: MoorageProcess, hub: str) -> None:
    """Held back, a client cannot be heard: that is not its fault."""
    async with TunnelLink(quick, hub, window=64 * 1024) as link:
        link.terms = (300, 1_200, 1_000_000)
        async with await WebSocket.session(quick.url, clients(hub)) as client:
            await link.next(v1.Open)
            link.acks = False
            packet = frame(TEXT, b'42["' + b"x" * 8_000 + b'"]')
            for _ in range(30):
                client.http.writer.write(packet)
            # It answers pings all the while, behind what is not read.
            keep = asyncio.create_task(_answer_pings(client))
            # It takes longer than the client's heartbeat may.
            for _ in range(8):
                await asyncio.sleep(0.25)
                await link.ack()
            link.acks = True
            link.inc.take_all()
            await link.ack()
            for _ in range(30):
                await link.next(v1.Packet)
            await client.send('42["still here"]')
            assert b"still here" in (await link.next(v1.Packet)).payload
            keep.cancel()


async def _answer_pings(client: WebSocket) -> None:
    while True:
        if await client.text() == "2":
            await client.send("3")


# -- the service stops ------------------------------------------------------------------------------------


async def test_a_stop() -> None:
    flags = ("--set", "shutdown.lb_wait=3s", "--set", "shutdown.spread=200ms")
    with MoorageProcess(*flags) as service:
        async with TunnelLink(service, "app") as link:
            async with await WebSocket.session(service.url, "/socket.io/") as client:
                service.signal(signal.SIGTERM)
                assert await link.next(v1.Drain) == v1.Drain(3.2)
                reply = await WebSocket.refused(service.url, target(service, "app"), PROTOCOL)
                assert (reply.status, reply.json()["reason"]) == (503, "draining")
                await link.say(v1.Packet(1, b'42["bye"]'))
                texts, end = await client.ended()
                assert ('42["bye"]' in texts, end) == (True, (1001, "draining"))
                closed = await link.next(v1.Closed)
                assert (closed.reason, closed.cause) == ("draining", "server shutting down")
            # The service waits until its last frames are taken.
            await link.ack()
            await link.ended()
            assert link.socket.close_code == 1001
            assert link.socket.close_reason == "draining"
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert not [line for line in service.lines if "Traceback" in line or '"level": "error"' in line]


async def test_a_cut_in_the_middle_of_a_stop() -> None:
    with MoorageProcess("--set", "shutdown.lb_wait=5s") as service:
        async with (
            TunnelLink(service, "app") as link,
            await WebSocket.session(service.url, "/socket.io/") as client,
        ):
            service.signal(signal.SIGTERM)
            await link.next(v1.Drain)
            await link.cut()
            await client.send('42["last"]')
            await link.dial(link.hello.session)
            assert link.hello.resumed
            assert (await link.next(v1.Packet)).payload == b'42["last"]'
            await link.say(v1.Packet(1, b'42["bye"]'))
            texts, end = await client.ended()
            assert (texts, end) == (['42["bye"]'], (1001, "draining"))
            assert (await link.next(v1.Closed)).reason == "draining"


async def test_a_stop_with_answers_under_way() -> None:
    """Whatever is queued in that moment: the stop goes on to its end."""
    with MoorageProcess("--set", "shutdown.lb_wait=0s", "--set", "shutdown.timeout=2s") as service:
        async with TunnelLink(service, "app") as link:
            sockets = [await WebSocket.session(service.url, "/socket.io/") for _ in range(20)]
            service.signal(signal.SIGTERM)
            while link.up:
                await link.say(*[v1.List(n) for n in range(1, 50)])
                await asyncio.sleep(0)
            for socket in sockets:
                await socket.ended()
                await socket.http.close()
        assert await asyncio.to_thread(service.wait_exit) == 0
        assert not [line for line in service.lines if "Traceback" in line or '"level": "error"' in line]
