"""Who may open a link."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import jwt
import pytest

from moorage.wire.moorage import v1
from tests.support.app_link import AppServer, tunnel_token, tunnel_url
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess


def target(service: MoorageProcess, hub: str, token: str) -> str:
    """A tunnel's request target."""
    return f"/server/tunnel?hub={hub}&access_token={token}"


async def test_no_subprotocol_and_no_extension_is_chosen(service: MoorageProcess, hub: str) -> None:
    token = tunnel_token(service, hub, "s")
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    socket, reply = await WebSocket.ask(service.url, target(service, hub, token), headers)
    async with socket:
        assert reply.status == 101
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & reply.headers.keys()


async def test_the_token_may_come_as_a_header(service: MoorageProcess, hub: str) -> None:
    headers = {"Authorization": f"Bearer {tunnel_token(service, hub, 's')}"}
    async with await WebSocket.open(service.url, f"/server/tunnel?hub={hub}", headers) as socket:
        assert await socket.binary()


async def test_a_target_belongs_to_the_audience(service: MoorageProcess, hub: str) -> None:
    audience = tunnel_url(service, hub) + "&target=node-2"
    token = tunnel_token(service, hub, "s", aud=audience)
    async with await WebSocket.open(service.url, target(service, hub, token) + "&target=node-2") as socket:
        assert await socket.binary()
    reply = await WebSocket.refused(service.url, target(service, hub, token))
    assert (reply.status, reply.json()["reason"]) == (401, "token-audience")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_000_000_000}, "token-expired"),
        ({"exp": None}, "token-claims"),
        ({"iat": 9_000_000_000}, "token-not-yet"),
        ({"sub": None}, "token-claims"),
        ({"sub": ["x"]}, "token-claims"),
        ({"aud": "ws://elsewhere.example/server/tunnel?hub=x"}, "token-audience"),
    ],
)
async def test_stale_and_foreign_tokens(
    service: MoorageProcess, hub: str, claims: dict[str, object], reason: str
) -> None:
    counter = f'moorage_refusals_total{{door="link",reason="{reason}"}}'
    before = service.metric(counter)
    token = tunnel_token(service, hub, "s", **claims)
    reply = await WebSocket.refused(service.url, target(service, hub, token))
    assert (reply.status, reply.json()["reason"]) == (401, reason)
    assert service.metric(counter) == before + 1


@pytest.mark.repair(30)
@pytest.mark.parametrize("protocol", [{}, {"Sec-WebSocket-Protocol": v1.SUBPROTOCOL}])
async def test_a_link_by_the_public_address_or_by_the_internal_one(protocol: dict[str, str]) -> None:
    with MoorageProcess("--set", "server.public_endpoint=https://rt.example") as service:
        health = service.wait_line(lambda line: line.startswith("Health")).split()[1]
        service.url = health.removesuffix("/healthz")
        internal = tunnel_url(service, "x")
        for at, audience, status in (
            ("", internal, 101),
            ("", "wss://rt.example/server/tunnel?hub=x", 101),
            ("", "wss://other.example/server/tunnel?hub=x", 401),
            ("proxy.example", "wss://rt.example/server/tunnel?hub=x", 101),
            ("proxy.example", internal, 401),
            ("other.example/server/tunnel", "wss://other.example/server/tunnel?hub=x", 401),
        ):
            token = tunnel_token(service, "x", f"by {at} {audience}", aud=audience)
            headers = protocol | ({"Host": at} if at else {})
            socket, reply = await WebSocket.ask(service.url, target(service, "x", token), headers)
            await socket.http.close()
            assert reply.status == status, (at, audience)


@pytest.mark.repair(8)
async def test_a_broken_host_header_is_refused_after_the_token() -> None:
    with MoorageProcess("--set", "server.public_endpoint=https://rt.example") as service:
        health = service.wait_line(lambda line: line.startswith("Health")).split()[1]
        service.url = health.removesuffix("/healthz")
        for audience, status in (("wss://rt.example", 400), ("wss://other.example", 401)):
            token = tunnel_token(service, "x", "one", aud=f"{audience}/server/tunnel?hub=x")
            reply = await WebSocket.refused(service.url, target(service, "x", token), {"Host": "x/y"})
            assert reply.status == status


async def test_forged_tokens(service: MoorageProcess, hub: str) -> None:
    claims = {"sub": "s", "exp": int(time.time()) + 60, "aud": tunnel_url(service, hub)}
    forged = jwt.encode(claims, "another key, of the right length.", "HS256")
    reply = await WebSocket.refused(service.url, target(service, hub, forged))
    assert (reply.status, reply.json()["reason"]) == (401, "token-signature")
    reply = await WebSocket.refused(service.url, target(service, hub, "x.y.z"))
    assert (reply.status, reply.json()["reason"]) == (401, "token-malformed")
    reply = await WebSocket.refused(service.url, f"/server/tunnel?hub={hub}")
    assert (reply.status, reply.json()["reason"]) == (401, "token-missing")


async def test_a_clients_token_opens_no_link(service: MoorageProcess, hub: str) -> None:
    audience = f"{service.url}/clients/socketio/hubs/{hub}"
    token = tunnel_token(service, hub, "s", aud=audience)
    assert (await WebSocket.refused(service.url, target(service, hub, token))).status == 401


async def test_a_refusal_tells_the_time(service: MoorageProcess, hub: str) -> None:
    # Whose clock is wrong can tell by how much.
    reply = await WebSocket.refused(service.url, target(service, hub, tunnel_token(service, hub, "s", exp=1)))
    told = parsedate_to_datetime(reply.headers["date"]).timestamp()
    assert abs(told - time.time()) < 60


async def test_refusals_before_the_token(service: MoorageProcess, hub: str) -> None:
    token = tunnel_token(service, hub, "s")
    reply = await WebSocket.refused(
        service.url, target(service, hub, token), {"Sec-WebSocket-Protocol": "json.x"}
    )
    assert (reply.status, reply.json()["reason"]) == (400, "link-unknown-dialect")
    reply = await WebSocket.refused(service.url, target(service, "1", token))
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")
    reply = await WebSocket.refused(service.url, "/server/tunnel?" + "a=1&" * 1_100)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-request")


async def test_links_of_one_server_are_counted() -> None:
    with MoorageProcess("--set", "links.max_links_per_server=2") as service:
        async with AppServer(service, "a", "one"), AppServer(service, "a", "one"):
            token = tunnel_token(service, "a", "one")
            reply = await WebSocket.refused(service.url, target(service, "a", token))
            assert (reply.status, reply.json()["reason"]) == (503, "link-too-many")
            async with AppServer(service, "a", "two"), AppServer(service, "b", "one"):
                assert service.metric('moorage_tunnel_connections{dialect="azure",hub="a"}') == 3
                assert service.metric('moorage_app_servers{hub="a"}') == 2
