"""One port for everything: which path leads where, and what every answer to a page carries."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest

from moorage.edge.http.listener import not_found_body
from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, fetch, request_bytes
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

OPEN = "?EIO=4&transport=polling"
SOCKET = "?EIO=4&transport=websocket"
PAGE = {"Origin": "https://page.example"}


@pytest.fixture(scope="module")
def strict() -> Iterator[MoorageProcess]:
    """A service that takes pages of one origin, and no anonymous clients on hub `closed`."""
    flags = (
        "--set",
        "cors.allow_origins=https://page.example",
        "--set",
        "hubs.closed.anonymous=false",
        "--hub",
        "main",
    )
    with MoorageProcess(*flags) as running:
        yield running


# -- paths ----------------------------------------------------------------------------------------------


async def test_a_hubs_path_with_and_without_slash(service: MoorageProcess, hub: str, app: AppServer) -> None:
    for path in (clients(hub), clients(hub)[:-1], clients(hub.upper())):
        await Polling(service.url, path).open()
        async with await WebSocket.session(service.url, path):
            pass


@pytest.mark.repair(2)
async def test_both_transports_decode_a_path_once(service: MoorageProcess) -> None:
    async with AppServer(service, "a`b"):
        path = "/clients/socketio/hubs/%61%60b/"
        await Polling(service.url, path).open()
        async with await WebSocket.session(service.url, path):
            pass
        for path in ("/clients/socketio/hubs/a%2560b/", "/%63lients/socketio/hubs/a%60b/"):
            polling = await fetch(service.url, path + OPEN)
            websocket = await WebSocket.refused(service.url, path + SOCKET)
            assert polling.status == websocket.status == 404
            assert polling.json()["reason"] == websocket.json()["reason"]


async def test_plain_socket_io_is_the_default_hub(strict: MoorageProcess) -> None:
    async with AppServer(strict, "main"):
        for path in ("/socket.io/", "/socket.io"):
            await Polling(strict.url, path).open()
            async with await WebSocket.session(strict.url, path):
                pass


@pytest.mark.parametrize(
    "path", ["/", "/clients", "/clients/", "/clients/hubs/x/", "/socket.io/x", "/client", "/server/tunnels"]
)
async def test_a_wrong_path_gets_a_hint(service: MoorageProcess, path: str) -> None:
    reply = await fetch(service.url, path + OPEN)
    assert reply.status == 404
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json()["reason"] == "unknown-path"
    assert "/clients/socketio/hubs/HUB" in reply.json()["hint"]
    reply = await WebSocket.refused(service.url, path + SOCKET)
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-path")
    assert "/clients/socketio/hubs/HUB" in reply.text


@pytest.mark.repair(31)
@pytest.mark.parametrize("asked", ["EIO=3&", "EIO=2&", ""])
async def test_an_old_client_is_told_what_to_use(service: MoorageProcess, asked: str) -> None:
    # socket.io-client 2 and older, in Engine.IO's own words, and in ours beside them.
    reply = await fetch(service.url, f"/socket.io/?{asked}transport=polling")
    assert (reply.status, reply.json()["code"]) == (400, 5)
    assert reply.json()["message"] == "Unsupported protocol version"
    assert "use socket.io-client 3 or newer" in reply.json()["hint"]
    reply = await WebSocket.refused(service.url, f"/socket.io/?{asked}transport=websocket")
    assert "use socket.io-client 3 or newer" in reply.json()["hint"]


@pytest.mark.parametrize("hub", ["1a", "a-b", "a%20b", "%C3%A4"])
async def test_a_wrong_hub_gets_a_hint(service: MoorageProcess, hub: str) -> None:
    reply = await fetch(service.url, clients(hub) + OPEN)
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")
    assert "hint" in reply.json()
    reply = await WebSocket.refused(service.url, clients(hub) + SOCKET)
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")


def test_the_hint_of_other_paths_does_not_echo_without_limit() -> None:
    assert len(str(not_found_body("/" + "x" * 100_000))) < 1000


async def test_a_path_that_is_no_text_is_refused(service: MoorageProcess) -> None:
    async with await HttpConnection.open(service.url) as http:
        await http.send(b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await http.reply()).status in (400, 404)


# -- pages of other origins ------------------------------------------------------------------------------


def allows(headers: object, origin: str = PAGE["Origin"]) -> bool:
    """May a page of this origin read the answer?"""
    assert isinstance(headers, dict)
    allowed = headers.get("access-control-allow-origin") == origin
    assert allowed == (headers.get("access-control-allow-credentials") == "true")
    assert not allowed or "Origin" in headers["vary"]
    return allowed


async def test_every_answer_to_a_page_can_be_read_by_it(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    client = await Polling(service.url, clients(hub), headers=PAGE).open()
    assert allows((await fetch(service.url, clients(hub) + OPEN, headers=PAGE)).headers)
    await app.send(client.sid, '42["x"]')
    assert allows((await client.get()).headers)
    assert allows((await client.post("42[1]")).headers)
    assert allows((await client.post("42[1]", "image/png")).headers)
    assert allows((await client.post("x" * 1_000_001)).headers)
    assert allows((await client.post("abc")).headers)
    for target in (OPEN + "&sid=x", "?EIO=3&transport=polling", OPEN + "&access_token=x"):
        assert allows((await fetch(service.url, clients(hub) + target, headers=PAGE)).headers)
    assert allows((await fetch(service.url, clients("none") + OPEN, headers=PAGE)).headers)
    assert allows((await fetch(service.url, clients("1") + OPEN, headers=PAGE)).headers)
    assert allows((await WebSocket.refused(service.url, clients("none") + SOCKET, PAGE)).headers)
    app.on_connect = lambda event: (400, b"no")
    assert allows((await fetch(service.url, clients(hub) + OPEN, headers=PAGE)).headers)
    assert not allows((await fetch(service.url, clients(hub) + OPEN)).headers), "nobody asked"


async def test_a_preflight_is_answered(service: MoorageProcess, hub: str) -> None:
    asked = {
        **PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-custom,content-type",
    }
    reply = await fetch(service.url, clients(hub) + OPEN, method="OPTIONS", headers=asked)
    assert reply.status == 204
    assert allows(reply.headers)
    assert reply.headers["access-control-allow-methods"] == "GET,POST,OPTIONS"
    assert reply.headers["access-control-allow-headers"] == "x-custom,content-type"


async def test_listed_origins(strict: MoorageProcess) -> None:
    other = {"Origin": "https://other.example"}
    async with AppServer(strict, "main"):
        target = clients("main")
        assert allows((await fetch(strict.url, target + OPEN, headers=PAGE)).headers)
        reply = await fetch(strict.url, target + OPEN, headers=other)
        assert not allows(reply.headers, other["Origin"]), "the browser keeps the answer from the page"
        preflight = await fetch(strict.url, target + OPEN, method="OPTIONS", headers=other)
        assert "access-control-allow-methods" not in preflight.headers
        async with await WebSocket.session(strict.url, target, headers=PAGE):
            pass
        async with await WebSocket.session(strict.url, target):
            pass
        reply = await WebSocket.refused(strict.url, target + SOCKET, other)
        assert (reply.status, reply.json()["reason"]) == (403, "origin-refused")


@pytest.fixture(scope="module")
def production() -> Iterator[MoorageProcess]:
    """`moorage serve`: pages of all origins may connect, those of two with cookies."""
    flags = ("--set", "cors.allow_origins=* https://page.example capacitor://localhost")
    with MoorageProcess(*flags, command="serve") as running:
        yield running


@pytest.mark.repair(6)
@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize(
    ("origin", "seen"),
    [
        (None, True),
        ("https://page.example", True),
        ("capacitor://localhost", True),
        ("https://evil.example", False),
        ("null", False),
    ],
)
async def test_cookies_of_pages_that_are_not_listed_do_not_reach_the_app(
    production: MoorageProcess, hub: str, transport: str, origin: str | None, seen: bool
) -> None:
    headers = {"Cookie": "session=secret"} | ({"Origin": origin} if origin else {})
    async with AppServer(production, hub) as app:
        if transport == "polling":
            reply = await fetch(production.url, clients(hub) + OPEN, headers=headers)
            assert reply.status == 200
            assert reply.headers.get("access-control-allow-origin") == origin
            listed = seen and origin is not None
            assert ("access-control-allow-credentials" in reply.headers) is listed
        else:
            async with await WebSocket.session(production.url, clients(hub), headers=headers):
                pass
        assert ("cookie" in (await app.event("connect")).json()["headers"]) is seen
    preflight = await fetch(production.url, clients(hub) + OPEN, method="OPTIONS", headers=headers)
    assert ("access-control-allow-credentials" in preflight.headers) is (seen and origin is not None)


@pytest.mark.repair(6)
async def test_moorage_serve_warns_until_an_origin_is_listed(production: MoorageProcess) -> None:
    with MoorageProcess(command="serve") as plain:
        line = plain.wait_record(level="warning")
        assert line["event"].startswith("cors.allow_origins: no origin is listed")
    assert not [line for line in production.lines if "cors.allow_origins" in line]


@pytest.mark.repair(6)
async def test_moorage_dev_stays_open(service: MoorageProcess, hub: str, app: AppServer) -> None:
    headers = {"Cookie": "session=secret", "Origin": "https://evil.example"}
    async with await WebSocket.session(service.url, clients(hub), headers=headers):
        assert (await app.event("connect")).json()["headers"]["cookie"] == ["session=secret"]
    assert not [line for line in service.lines if "cors." in line]


# -- tokens ---------------------------------------------------------------------------------------------


def token(service: MoorageProcess, hub: str, **changes: object) -> str:
    """A client token for a hub; `changes` to its claims, `key`, `algorithm`."""
    key = str(changes.pop("key", service.key))
    algorithm = str(changes.pop("algorithm", "HS256"))
    now = int(time.time())
    claims = {"aud": f"{service.url}/clients/socketio/hubs/{hub}", "iat": now, "exp": now + 60, **changes}
    return jwt.encode({n: v for n, v in claims.items() if v is not None}, key, algorithm)


@pytest.mark.parametrize("by", ["query", "header"])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_token_reaches_the_app_server(
    service: MoorageProcess, hub: str, app: AppServer, by: str, transport: str
) -> None:
    signed = token(service, hub, sub="ann", role=["x", "y"], **{"webpubsub.group": ["vips"]})
    query = f"&access_token={signed}&room=1" if by == "query" else "&room=1"
    headers = {"Authorization": f"Bearer {signed}"} if by == "header" else {}
    if transport == "polling":
        sid = (await Polling(service.url, clients(hub), query, headers).open()).sid
    else:
        async with await WebSocket.session(service.url, clients(hub), query, headers) as socket:
            sid = socket.sid
    event = await app.event("connect")
    assert (event.connection, event.user) == (sid, "ann")
    body = event.json()
    assert body["claims"]["sub"] == ["ann"]
    assert body["claims"]["role"] == ["x", "y"]
    assert body["query"] == {"EIO": ["4"], "transport": [transport], "room": ["1"]}
    assert signed not in event.content


async def test_a_tokens_groups_are_joined(service: MoorageProcess, hub: str, app: AppServer) -> None:
    signed = token(service, hub, sub="ann", **{"webpubsub.group": ["vips"]})
    async with (
        await WebSocket.session(service.url, clients(hub), f"&access_token={signed}") as vip,
        await WebSocket.session(service.url, clients(hub)) as other,
    ):
        await app.call("POST", "groups/vips/:send?api-version=1", b'42["vip"]')
        await app.send_all('42["all"]')
        assert await vip.text() == '42["vip"]'
        assert await other.text() == '42["all"]'


BAD_TOKENS = {
    "not-a-token": "token-malformed",
    "a.b.c": "token-malformed",
    "x" * 9000: "token-malformed",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1_000_000_000, "iat": 999_999_000}, "token-expired"),
        ({"exp": None}, "token-claims"),
        ({"exp": "soon"}, "token-claims"),
        ({"sub": 7}, "token-claims"),
        ({"nbf": 9_000_000_000}, "token-not-yet"),
        ({"aud": "http://elsewhere.example/clients/socketio/hubs/x"}, "token-audience"),
        ({"aud": None}, "token-claims"),
        ({"key": "f" * 64}, "token-signature"),
        ({"algorithm": "HS512", "key": "f" * 64}, "token-algorithm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_token_is_refused_with_its_reason(
    service: MoorageProcess, hub: str, app: AppServer, changes: dict[str, object], reason: str
) -> None:
    counter = f'moorage_refusals_total{{door="client",reason="{reason}"}}'
    before = service.metric(counter)
    signed = token(service, hub, **changes)
    reply = await fetch(service.url, f"{clients(hub)}{OPEN}&access_token={signed}")
    assert (reply.status, reply.json()["reason"]) == (401, reason)
    reply = await WebSocket.refused(service.url, f"{clients(hub)}{SOCKET}&access_token={signed}")
    assert (reply.status, reply.json()["reason"]) == (401, reason)
    headers = {"Authorization": f"Bearer {signed}"}
    assert (await fetch(service.url, clients(hub) + OPEN, headers=headers)).status == 401
    assert service.metric(counter) == before + 3
    assert app.events.empty(), "the app server was not asked"


@pytest.mark.parametrize("text", list(BAD_TOKENS), ids=["word", "dots", "long"])
async def test_text_that_is_not_a_token_is_refused_if_a_token_is_required(
    strict: MoorageProcess, text: str
) -> None:
    async with AppServer(strict, "closed"):
        reply = await fetch(strict.url, f"{clients('closed')}{OPEN}&access_token={text}")
        assert (reply.status, reply.json()["reason"]) == (401, BAD_TOKENS[text])


async def test_unsigned_tokens_are_refused(service: MoorageProcess, hub: str, app: AppServer) -> None:
    signed = token(service, hub, sub="ann", algorithm="none", key="")
    reply = await fetch(service.url, f"{clients(hub)}{OPEN}&access_token={signed}")
    assert (reply.status, reply.json()["reason"]) == (401, "token-algorithm")


async def test_anonymous_clients_are_denied_per_hub(strict: MoorageProcess) -> None:
    async with AppServer(strict, "closed"):
        reply = await fetch(strict.url, clients("closed") + OPEN)
        assert (reply.status, reply.json()["reason"]) == (401, "token-missing")
        reply = await WebSocket.refused(strict.url, clients("Closed") + SOCKET)
        assert (reply.status, reply.json()["reason"]) == (401, "token-missing")
        signed = token(strict, "closed", sub="ann")
        await Polling(strict.url, clients("closed"), f"&access_token={signed}").open()
    async with AppServer(strict, "main"):
        await Polling(strict.url, clients("main")).open()


@pytest.mark.repair(8)
@pytest.mark.parametrize("host", ["x/clients", "http://x", "x?y", "u@x"])
async def test_a_broken_host_header_is_refused(
    service: MoorageProcess, hub: str, app: AppServer, host: str
) -> None:
    headers = {"Host": host}
    for reply in (
        await fetch(service.url, clients(hub) + OPEN, headers=headers),
        await WebSocket.refused(service.url, clients(hub) + SOCKET, headers),
    ):
        assert (reply.status, reply.json()["reason"]) == (400, "bad-request")
    assert app.events.empty()


# -- the rest of the port ---------------------------------------------------------------------------------


async def test_operators_paths_live_on_the_same_port(service: MoorageProcess) -> None:
    assert (await fetch(service.url, "/healthz")).status == 200
    assert (await fetch(service.url, "/readyz")).status == 200
    assert (await fetch(service.url, "/metrics")).status == 200
    assert (await fetch(service.url, "/api/hubs/x/:send?api-version=1", method="POST")).status == 401


async def test_half_a_request_is_given_up_by_the_running_service() -> None:
    flags = ("--set", "server.header_timeout=3s", "--set", "server.body_timeout=3s")
    with MoorageProcess(*flags) as service:
        async with AppServer(service, "app"):
            client = await Polling(service.url, "/socket.io/").open()
            async with (
                await HttpConnection.open(service.url) as head,
                await HttpConnection.open(service.url) as body,
                await HttpConnection.open(service.url) as idle,
                await HttpConnection.open(service.url) as refused,
            ):
                await head.send(b"GET /healthz HTTP/1.1\r\nHost:")
                await body.send(request_bytes("POST", client.target, {"Content-Length": "9"}) + b"42[")
                await refused.send(request_bytes("POST", "/socket.io/" + OPEN, {"Content-Length": "9"}))
                assert (await refused.reply()).status == 400, "what can be answered at once, is"
                reply = await head.reply()
                assert (reply.status, reply.json()["reason"]) == (408, "header-timeout")
                assert (await idle.reply()).status == 408, "and so is a connection that says nothing"
                reply = await body.reply()
                assert (reply.status, reply.json()["reason"]) == (408, "header-timeout")
            await client.send("42[1]")
