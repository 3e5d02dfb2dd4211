"""Long-polling as clients in other languages, proxies and pipelining HTTP libraries do it."""

from __future__ import annotations

import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, request_bytes
from tests.support.service import MoorageProcess


@pytest.fixture
async def client(service: MoorageProcess, hub: str, app: AppServer) -> Polling:
    """A client with an open session."""
    return await Polling(service.url, clients(hub)).open()


@pytest.mark.repair(17)
@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [("bAQID\n", "bAQID"), ("b-_8", "b+/8="), ("bAQ\r\nIDBA", "bAQIDBA==")],
)
async def test_base64_of_other_languages(client: Polling, app: AppServer, sent: str, passed_on: str) -> None:
    await client.send(f"451-[0]\x1e{sent}")
    assert await app.message(client.sid) == f"451-[0]\x1e{passed_on}"


@pytest.mark.repair(17)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/html",
        "application/json",
        "application/x-www-form-urlencoded",
        "application/octet-stream; charset=x",
        "nonsense",
        "",
    ],
)
async def test_any_content_type_but_one_is_taken(client: Polling, app: AppServer, content_type: str) -> None:
    reply = await client.post("42[1]", content_type)
    assert (reply.status, reply.text) == (200, "ok")
    assert await app.message(client.sid) == "42[1]"


async def test_a_payload_is_text(client: Polling) -> None:
    reply = await client.post("42[1]", "application/octet-stream")
    assert (reply.status, reply.json()["reason"]) == (415, "wrong-content-type")
    await client.send("42[2]")


@pytest.mark.repair(17)
async def test_a_post_to_a_closed_session_is_told_why(client: Polling, app: AppServer) -> None:
    await app.send(client.sid, "1")
    assert await client.poll() == "6\x1e1"
    for _ in range(2):
        reply = await client.post("42[1]")
        assert (reply.status, reply.json()["code"]) == (400, 1)
        assert "app-closed" in reply.json()["message"]


@pytest.mark.repair(17)
async def test_a_post_before_the_last_poll_does_not_lose_the_last_payloads(
    client: Polling, app: AppServer
) -> None:
    """As natively: with a refusal the client would give up, and never learn who ended the session."""
    await app.send(client.sid, '42["last"]\x1e1')
    assert (await client.post("3")).status == 200
    assert await client.poll() == '42["last"]'
    assert await client.poll() == "6\x1e1"
    assert (await client.post("3")).status == 400


# -- one TCP connection ---------------------------------------------------------------------------


@pytest.mark.repair(17)
async def test_a_post_behind_a_poll_is_answered_at_once(client: Polling, app: AppServer) -> None:
    app.on_message = lambda event: 204
    headers = {"Content-Type": "text/plain"}
    async with await HttpConnection.open(client.base) as http:
        for number in range(3):
            body = f"42[{number}]".encode()
            await http.send(request_bytes("GET", client.target))
            await http.send(request_bytes("POST", client.target, headers, body))
            assert (await http.reply()).text == "6"
            assert (await http.reply()).text == "ok"
            assert await app.message(client.sid) == f"42[{number}]"
        # Both in one write, and the POST's body in two.
        whole = request_bytes("GET", client.target) + request_bytes("POST", client.target, headers, b"42[9]")
        await http.send(whole[:-2])
        assert (await http.reply()).text == "6"
        await http.send(whole[-2:])
        assert (await http.reply()).text == "ok"
        assert await app.message(client.sid) == "42[9]"


@pytest.mark.repair(17)
async def test_a_poll_behind_a_post_waits_for_no_more_than_that(client: Polling, app: AppServer) -> None:
    app.on_message = lambda event: 204
    async with await HttpConnection.open(client.base) as http:
        post = request_bytes("POST", client.target, {"Content-Type": "text/plain"}, b"42[1]")
        await http.send(post + request_bytes("GET", client.target))
        assert (await http.reply()).text == "ok"
        await app.send(client.sid, "42[2]")
        assert (await http.reply()).text == "42[2]"


@pytest.mark.repair(17)
async def test_a_connection_that_breaks_with_requests_behind_the_poll(
    client: Polling, app: AppServer
) -> None:
    async with await HttpConnection.open(client.base) as http:
        await http.send(request_bytes("GET", client.target) * 2)
        assert (await http.reply()).text == "6"
        await http.send(request_bytes("GET", "/healthz"))
        assert (await http.reply()).text == "6"
        assert (await http.reply()).status == 200
        await http.send(request_bytes("GET", client.target))
        await client.send("3")
    assert (await app.event("disconnected")).connection == client.sid
    assert (await client.get()).status == 400
