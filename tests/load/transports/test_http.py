"""One kept HTTP connection."""

from __future__ import annotations

import asyncio

from moorage.load.plan import Plan
from moorage.load.transports.http import NO_ANSWER, HttpChannel
from moorage.load.transports.target import resolve
from tests.load.transports.raw import raw_server
from tests.support.programs import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def channel(url: str) -> HttpChannel:
    return HttpChannel(await resolve(Plan(scenario="idle", url=url, headers={"X-One": "1"})))


async def ask(http: HttpChannel, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    http.request(method, "/x", body, lambda status, body: answered.set_result((status, body)))
    return await asyncio.wait_for(answered, 30)


async def test_requests_share_a_connection() -> None:
    heads = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        return OK

    async with raw_server(answer) as url:
        http = await channel(url)
        assert await ask(http) == (200, b"ok")
        assert await ask(http, "POST", b"") == (200, b"ok")
        http.abort(reset=False)
    assert heads[0].startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-One: 1\r\n" in heads[0]
    assert b"Content-Length: 0\r\n" in heads[1]


async def test_a_request_on_a_connection_that_the_server_has_closed_is_sent_again() -> None:
    count = 0

    def answer(head: bytes) -> bytes | None:
        nonlocal count
        count += 1
        return None if count == 2 else OK

    async with raw_server(answer) as url:
        http = await channel(url)
        assert await ask(http) == (200, b"ok")
        assert await ask(http) == (200, b"ok")
        assert count == 3
        http.abort(reset=True)


async def test_a_server_that_keeps_no_connection() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with raw_server(lambda head: closing) as url:
        http = await channel(url)
        for _ in range(3):
            assert await ask(http) == (200, b"ok")


async def test_a_connection_that_breaks_at_the_first_request() -> None:
    async with raw_server(lambda head: None) as url:
        assert await ask(await channel(url)) == (NO_ANSWER, b"the connection broke")


async def test_what_is_not_http() -> None:
    async with raw_server(lambda head: b"SSH-2.0\r\n\r\n") as url:
        status, body = await ask(await channel(url))
        assert (status, body.startswith(b"not an HTTP answer")) == (NO_ANSWER, True)


async def test_no_server() -> None:
    status, body = await ask(await channel(f"http://127.0.0.1:{free_port()}"))
    assert status == NO_ANSWER
    assert body == b"connection refused"


async def test_an_aborted_request_has_no_answer() -> None:
    http = await channel(f"http://127.0.0.1:{free_port()}")
    http.request("GET", "/", None, lambda status, body: (_ for _ in ()).throw(AssertionError))
    http.abort(reset=True)
    await asyncio.sleep(0.01)
