"""Two real nodes: a request of a session reaches its owner, whichever node gets it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from moorage.auth import AccessKeys
from moorage.edge.relay.heads import request_head
from moorage.edge.relay.hop import Hops, Peer, Request
from moorage.edge.relay.relay import Relay
from moorage.wire.ids import incarnation_of
from moorage.wire.moorage import v1
from tests.support.app_link import AppServer, tunnel_token
from tests.support.http_port import UPGRADE
from tests.support.nats_server import NatsServer
from tests.support.rawhttp import HttpConnection, Polling, Reply, clients, fetch, request_bytes
from tests.support.rawws import TEXT, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import PROTOCOL, greeting
from tests.support.two_nodes import two_nodes

RELAYED = "moorage_cluster_relayed_connections"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[MoorageProcess]]:
    with two_nodes() as running:
        yield running


class Pair(NamedTuple):
    """The node that owns the sessions of a test, its app server, and the other node."""

    owner: MoorageProcess
    app: AppServer
    other: MoorageProcess

    async def open(self) -> Polling:
        """A session at the owner, whose further requests go to the other node."""
        polling = await Polling(self.owner.url, clients(self.app.hub)).open()
        polling.base = self.other.url
        return polling

    async def relayed(self) -> float:
        """The gauge at the other node."""
        return await asyncio.to_thread(self.other.metric, RELAYED)

    async def until_relayed(self, number: int) -> None:
        """Wait until so many are relayed."""
        async with asyncio.timeout(30):
            while await self.relayed() != number:
                await asyncio.sleep(0.02)  # between two questions, not instead of them


@pytest.fixture
async def pair(nodes: list[MoorageProcess], hub: str) -> AsyncIterator[Pair]:
    owner, other = nodes
    async with AppServer(owner, hub) as app:
        yield Pair(owner, app, other)


# -- polling ------------------------------------------------------------------------------------------------


async def test_a_polling_session_lives_on_requests_to_the_other_node(pair: Pair) -> None:
    polling = await pair.open()
    await polling.send("40")
    assert (await polling.poll()).startswith("40{")
    await polling.send('42["hello",{"n":1}]')
    assert await polling.poll() == '42["hello",{"n":1}]'
    waiting = asyncio.create_task(polling.poll())
    await pair.until_relayed(1)
    await polling.send('42["again"]')
    assert await waiting == '42["again"]'
    await pair.until_relayed(0)


@pytest.mark.repair(17)
async def test_a_post_behind_a_relayed_poll_is_answered_at_once(pair: Pair) -> None:
    polling = await pair.open()
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    async with await HttpConnection.open(pair.other.url) as http, asyncio.timeout(20):
        for number in range(3):
            # Less than the 25 s until the owner's next ping would end the poll.
            await http.send(request_bytes("GET", polling.target))
            await asyncio.sleep(0.05 * number)
            await http.send(request_bytes("POST", polling.target, headers, b"42[1]"))
            assert (await http.reply()).body == b"6"
            assert (await http.reply()).body == b"ok"
            await http.send(request_bytes("GET", polling.target))
            assert (await http.reply()).body == b"42[1]"


async def test_a_large_body_is_passed_on_as_it_comes(pair: Pair) -> None:
    polling = await pair.open()
    await polling.send("40")
    await polling.poll()
    packet = f'42["large","{"x" * 900_000}"]'
    await polling.send(packet)
    assert await polling.poll() == packet
    async with await HttpConnection.open(pair.other.url) as http:
        await http.send(request_bytes("POST", polling.target, {"Transfer-Encoding": "chunked"}))
        for part in ('42["in', ' parts"]'):
            await http.send(b"%x\r\n%b\r\n" % (len(part), part.encode()))
        await http.send(b"0\r\n\r\n")
        assert (await http.reply()).body == b"ok"
    assert await polling.poll() == '42["in parts"]'


async def test_a_connection_is_kept_for_requests_of_both_nodes(pair: Pair) -> None:
    polling = await pair.open()
    async with await HttpConnection.open(pair.other.url) as http:
        for number in range(2):
            await http.send(request_bytes("POST", polling.target, body=b"40/%d," % number))
            await http.send(request_bytes("GET", "/healthz"))
            first, second = await http.reply(), await http.reply()
            assert (first.body, second.status) == (b"ok", 200)


async def test_the_limits_of_headers_are_those_of_the_first_node(pair: Pair) -> None:
    polling = await pair.open()
    await polling.send("40")
    fills = ({"X-Large": "x" * 16_100}, {f"X-{number}": "x" for number in range(98)})
    for number, headers in enumerate(fills):
        given = {"Host": "a", "Content-Length": "5", **headers}
        reply = await once(pair.other, request_bytes("POST", polling.target, given) + b"40/%d," % number)
        assert reply.body == b"ok", reply
    given = {"Host": "a", "X-Large": "x" * 16_400}
    reply = await once(pair.other, request_bytes("GET", polling.target, given))
    assert reply.status == 431


async def test_the_owner_s_refusals_come_through(pair: Pair) -> None:
    polling = await pair.open()
    headers = {"Content-Type": "application/octet-stream", "Origin": "http://a.example"}
    reply = await fetch(pair.other.url, polling.target, method="POST", headers=headers, body=b"x")
    assert (reply.status, reply.json()["reason"]) == (415, "wrong-content-type")
    assert reply.headers["access-control-allow-origin"] == "http://a.example"
    reply = await polling.post(b"4" * 2_000_000)
    assert (reply.status, reply.json()["reason"]) == (413, "payload-too-large")
    await polling.send("1")
    assert refusal(await polling.get()) == "unknown-sid"


async def test_a_client_that_leaves_its_poll_ends_its_session(pair: Pair) -> None:
    polling = await pair.open()
    http = await HttpConnection.open(pair.other.url)
    await http.send(request_bytes("GET", polling.target))
    await pair.until_relayed(1)
    await http.close()
    await pair.until_relayed(0)
    ended = await pair.app.event("disconnected")
    assert ended.connection == polling.sid


async def test_a_session_that_no_node_has_is_unknown(pair: Pair) -> None:
    for sid in (incarnation_of((await pair.open()).sid), "nodeWITH_no_such_session", "nodeWITH"):
        polling = Polling(pair.other.url, clients(pair.app.hub))
        polling.sid = sid
        assert refusal(await polling.get()) == "unknown-sid"
        assert refusal(await polling.post("40")) == "unknown-sid"
        assert refusal(await WebSocket.refused(pair.other.url, polling.upgrade_target)) == "unknown-sid"


def refusal(reply: Reply) -> str:
    """Why a request was refused."""
    assert reply.status == 400, reply
    return str(reply.json()["reason"])


# -- WebSockets ---------------------------------------------------------------------------------------------


async def test_an_upgrade_goes_to_the_owner(pair: Pair) -> None:
    polling = await pair.open()
    async with await WebSocket.open(pair.other.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        await socket.send("40")
        assert (await socket.text()).startswith("40{")
        packet = f'42["large","{"x" * 900_000}"]'
        await socket.send(packet)
        assert await socket.text() == packet
        await pair.until_relayed(1)
    await pair.until_relayed(0)
    assert (await pair.app.event("disconnected")).connection == polling.sid


async def test_the_owner_ends_the_websocket(pair: Pair) -> None:
    polling = await pair.open()
    async with await WebSocket.open(pair.other.url, polling.upgrade_target) as socket:
        await socket.send("nonsense")
        texts, end = await socket.ended()
        assert (texts, end.code) == ([], 1002)
    await pair.until_relayed(0)


async def test_what_a_client_sends_before_the_answer_is_not_lost(pair: Pair) -> None:
    polling = await pair.open()
    async with await HttpConnection.open(pair.other.url) as http:
        request = request_bytes("GET", polling.upgrade_target, UPGRADE)
        await http.send(request + frame(TEXT, b"2probe"))
        assert (await http.reply()).status == 101
        assert await WebSocket(http).text() == "3probe"
    await pair.until_relayed(0)


# -- links --------------------------------------------------------------------------------------------------


async def test_a_link_reaches_the_node_that_it_names(pair: Pair, hub: str) -> None:
    owner = incarnation_of((await pair.open()).sid)
    for query in (f"node={owner}", f"session={owner}~anything"):
        found = link_target(pair.other, hub, query)
        async with await WebSocket.open(pair.other.url, found, PROTOCOL) as link:
            await link.send(greeting())
            hello = v1.decode_from_service(await link.binary()).frames[0]
            assert isinstance(hello, v1.ServiceHello)
            assert hello.node == owner
            await pair.until_relayed(1)
        await pair.until_relayed(0)


async def test_a_link_to_a_node_that_is_gone_is_told_so(pair: Pair, hub: str) -> None:
    reply = await WebSocket.refused(pair.other.url, link_target(pair.other, hub, "node=goneNODE"), PROTOCOL)
    assert (reply.status, reply.json()["reason"]) == (410, "link-session-gone")


async def test_a_link_needs_a_token_before_it_is_relayed(pair: Pair, hub: str) -> None:
    owner = incarnation_of((await pair.open()).sid)
    found = f"/server/tunnel?hub={hub}&session={owner}~x"
    reply = await WebSocket.refused(pair.other.url, found, PROTOCOL)
    assert reply.status == 401


def link_target(at: MoorageProcess, hub: str, more: str) -> str:
    """A link's request target with a token for it."""
    query = f"hub={hub}&{more}"
    audience = f"{at.url.replace('http', 'ws', 1)}/server/tunnel?{query}"
    return f"/server/tunnel?{query}&access_token={tunnel_token(at, hub, 'by-hand', aud=audience)}"


# -- strangers ----------------------------------------------------------------------------------------------


async def test_a_relayed_request_works_once_and_only_as_it_was_signed(pair: Pair) -> None:
    polling = await Polling(pair.owner.url, clients(pair.app.hub)).open()
    node = incarnation_of(polling.sid)
    signer = Hops(AccessKeys(pair.owner.key), "nodeTEST")
    headers = [(b"host", b"example.org"), (b"content-length", b"2")]

    def head(signed: str, sent: str, owner: str = node, key: Hops = signer) -> bytes:
        hop = key.sign(owner, Request.of("POST", signed, headers), Peer("http", "192.0.2.7"))
        return request_head("POST", sent, headers, hop, upgrade=False)

    target = polling.target
    genuine = head(target, target)
    refusals = 'moorage_refusals_total{door="http",reason="unknown-path"}'
    before = await asyncio.to_thread(pair.owner.metric, refusals)
    stranger = Hops(AccessKeys("z" * 32), "nodeTEST")
    for number, request in enumerate(
        (
            head(target, target, key=stranger),
            head(target, target, owner="nodeELSE"),
            head(target, f"{target}&more=1"),
            head(target, target.replace(clients(pair.app.hub), "/api/health")),
            genuine.replace(b"192.0.2.7", b"192.0.2.8"),
            genuine.replace(b"moorage-hop:", b"moorage-hop: x\r\nmoorage-hop:"),
            genuine.replace(b"moorage-hop:", b"moorage-hopp:"),
        )
    ):
        reply = await once(pair.owner, request + b"40")
        assert (reply.status, reply.json()["reason"]) == (404, "unknown-path"), number
    assert (await once(pair.owner, genuine + b"40")).body == b"ok"
    assert (await once(pair.owner, genuine + b"40")).status == 404
    assert await asyncio.to_thread(pair.owner.metric, refusals) == before + 8
    line = await asyncio.to_thread(pair.owner.wait_line, lambda text: "relayed request refused" in text)
    assert '"level": "warning"' in line
    assert sum("relayed request refused" in text for text in pair.owner.lines) < 8, "one in ten seconds"


async def test_a_relayed_request_is_never_relayed_again(pair: Pair) -> None:
    polling = await pair.open()
    third = incarnation_of((await third_session(pair)).sid)
    signer = Hops(AccessKeys(pair.owner.key), "nodeTEST")
    headers = [(b"host", b"example.org")]
    # Signed for the other node, which does not own the session.
    hop = signer.sign(third, Request.of("GET", polling.target, headers), Peer("http", ""))
    reply = await once(pair.other, request_head("GET", polling.target, headers, hop, upgrade=False))
    assert refusal(reply) == "unknown-sid"


async def third_session(pair: Pair) -> Polling:
    """A session at the other node."""
    async with AppServer(pair.other, pair.app.hub):
        return await Polling(pair.other.url, clients(pair.app.hub)).open()


async def once(node: MoorageProcess, request: bytes) -> Reply:
    """One request in bytes."""
    async with await HttpConnection.open(node.url) as http:
        await http.send(request)
        return await http.reply()


@pytest.mark.parametrize("address", ["http://[", "http://h:x", "http://h:99999", f"http://{64 * 'a'}.org"])
async def test_a_node_with_an_impossible_address_cannot_be_reached(address: str) -> None:
    relay = Relay(AccessKeys("k" * 32), "node-one", lambda node: address, limit=10)
    scope: dict[str, Any] = {"extensions": {}, "method": "GET", "scheme": "http", "path": "/socket.io/"}
    scope |= {"query_string": b"", "headers": [], "client": ("192.0.2.7", 1)}

    async def unused(*_: object) -> Any:
        raise AssertionError

    assert not await relay.request("node-two-1", scope, unused, unused)
    assert relay.open == 0


# -- bounds -------------------------------------------------------------------------------------------------


async def test_relays_are_bounded_and_end_with_their_owner(hub: str) -> None:
    with two_nodes("--set=server.max_relays=2") as (owner, other):
        async with AppServer(owner, hub) as app:
            pair = Pair(owner, app, other)
            waiting, upgraded, refused = [await pair.open() for _ in range(3)]
            poll = asyncio.create_task(waiting.get())
            socket = await WebSocket.open(other.url, upgraded.upgrade_target)
            await pair.until_relayed(2)
            assert refusal(await refused.get()) == "unknown-sid"
            assert refusal(await WebSocket.refused(other.url, refused.upgrade_target)) == "unknown-sid"
            refused.base = owner.url
            await refused.send("40")
            owner.signal(signal.SIGKILL)
            assert refusal(await poll) == "unknown-sid"
            assert (await socket.ended())[1].code == 1006
            await socket.http.close()
            await pair.until_relayed(0)
            assert refusal(await waiting.get()) == "unknown-sid"


async def test_relaying_goes_on_while_nats_is_gone(hub: str) -> None:
    with NatsServer() as nats, two_nodes(nats=nats) as (owner, other):
        async with AppServer(owner, hub) as app:
            polling = await Pair(owner, app, other).open()
            await polling.send("40")
            assert (await polling.poll()).startswith("40{")
            nats.end()
            async with asyncio.timeout(30):
                while await asyncio.to_thread(other.metric, "moorage_cluster_nodes") != 1:
                    await asyncio.sleep(0.05)  # between two questions, not instead of them
            await polling.send('42["still"]')
            assert await polling.poll() == '42["still"]'


async def test_a_flood_of_made_up_sessions_costs_one_answer_each(pair: Pair) -> None:
    node = incarnation_of((await pair.open()).sid)
    before = await asyncio.to_thread(pair.other.metric, "moorage_cluster_relays_total")
    polling = Polling(pair.other.url, clients(pair.app.hub))
    async with await HttpConnection.open(pair.other.url) as http:
        for number in range(200):
            polling.sid = f"{node if number % 2 else 'nodeNONE'}{number}"
            await http.send(request_bytes("GET", polling.target))
            assert refusal(await http.reply()) == "unknown-sid"
    assert await asyncio.to_thread(pair.other.metric, "moorage_cluster_relays_total") == before + 100
    await pair.until_relayed(0)
