"""Who is let in: programs with a key, browsers with a session, and nobody else."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from moorage import logs
from moorage.control.admin.access.keys import Role
from moorage.control.admin.access.tries import BURST
from tests.control.admin.serving import ACCESS, OPERATE, READ, Served, serving
from tests.support.certificates import Authority
from tests.support.rawhttp import fetch
from tests.support.service import MoorageProcess

SAME = {"X-Moorage-Admin": "1"}
DISCONNECT = {"hub": "app", "user": "ada"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", OPERATE, f"Token {OPERATE}"])
async def test_a_header_that_holds_no_key(served: Served, value: str) -> None:
    assert await served.code("/hubs", headers={"Authorization": value}) == (401, "admin-no-key")


async def test_access_keys_and_tokens_are_no_admin_keys(served: Served) -> None:
    assert await served.code("/hubs", key=ACCESS) == (401, "admin-wrong-key")
    claims = {"aud": f"{served.url}/api/v1/nodes", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, ACCESS)
    assert (await served.ask("/nodes", key=token)).status == 200
    assert await served.code("/hubs", key=token) == (401, "admin-wrong-key")
    assert await served.code("/nodes", key=jwt.encode(claims, "x" * 32)) == (401, "token-signature")


async def test_an_admin_key_is_no_access_key(served: Served) -> None:
    claims = {"aud": f"{served.url}/api/hubs/app/:send", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, OPERATE)
    target = "/api/hubs/app/:send?api-version=2024-12-01"
    assert await served.code(target, "POST", key=token, body=b"x") == (401, "token-signature")


async def test_a_wrong_key_has_a_line_in_the_log() -> None:
    stream = io.StringIO()
    logs.setup(level="info", format="json", stream=stream)
    async with serving() as served:
        for number in range(BURST + 2):
            await served.code("/hubs", key=f"wrong-{number}")
        await served.ask("/hubs")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [line for line in lines if line["event"] == "wrong key"]
    assert len(told) == BURST
    assert (told[0]["component"], told[0]["address"]) == ("audit", "127.0.0.1")
    assert "wrong-" not in stream.getvalue()


async def test_wrong_keys_are_limited(served: Served) -> None:
    cookie = await served.cookie()
    for number in range(BURST):
        assert await served.code("/hubs", key=f"wrong-{number}") == (401, "admin-wrong-key")
    refused = await served.ask("/hubs")
    assert (refused.status, refused.json()["code"]) == (429, "admin-too-many-tries")
    assert refused.headers["retry-after"] == "6"
    login = await served.ask("/dashboard/session", "POST", key="", body={"key": OPERATE})
    assert (login.status, login.json()["code"]) == (429, "admin-too-many-tries")
    # A session goes on, and a request without a key costs no try.
    assert (await served.ask("/hubs", key="", headers={"Cookie": cookie})).status == 200
    assert await served.code("/hubs", key="") == (401, "admin-no-key")
    metrics = served.service.metrics
    assert metrics.refusals["admin", "admin-wrong-key"] == BURST
    assert metrics.refusals["admin", "admin-too-many-tries"] == 2
    assert metrics.admin_requests["hubs", 401] == BURST + 1


async def test_clients_addresses_behind_a_proxy() -> None:
    async with serving(server__trusted_proxies=["127.0.0.1"]) as served:
        bad = {"X-Forwarded-For": "192.0.2.1"}
        for number in range(BURST):
            await served.ask("/hubs", key=f"wrong-{number}", headers=bad)
        assert await served.code("/hubs", headers=bad) == (429, "admin-too-many-tries")
        assert (await served.ask("/hubs", headers={"X-Forwarded-For": "192.0.2.2"})).status == 200
        await served.ask("/disconnect", "POST", body=DISCONNECT, headers={"X-Forwarded-For": "192.0.2.2"})
        (row,) = (await served.ask("/audit", headers={"X-Forwarded-For": "192.0.2.2"})).json()["actions"]
        assert row["address"] == "192.0.2.2"


# -- sessions ---------------------------------------------------------------------------------------


async def test_a_login(served: Served) -> None:
    reply = await served.ask("/dashboard/session", "POST", key="", body={"key": READ})
    assert reply.json()["role"] == "read"
    assert reply.json()["expires"] == pytest.approx(time.time() + 8 * 3600, abs=60)
    attributes = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/", f"max-age={8 * 3600}"}
    cookie = reply.headers["set-cookie"].partition(";")[0]
    session = (await served.ask("/session", key="", headers={"Cookie": cookie})).json()
    assert (session["role"], session["expires"] > time.time()) == ("read", True)
    assert (await served.ask("/session")).json()["expires"] is None


@pytest.mark.parametrize("endpoint", ["https://live.example.org"])
async def test_a_cookie_under_https_is_secure(endpoint: str) -> None:
    async with serving(server__public_endpoint=endpoint) as served:
        reply = await served.ask("/dashboard/session", "POST", key="", body={"key": READ})
        assert "; Secure" in reply.headers["set-cookie"]


async def test_a_cookie_behind_a_proxy_is_secure_if_a_trusted_one_tells_of_https() -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    for trusted, secure in ((("127.0.0.1",), True), (("10.0.0.0/8",), False), ((), False)):
        async with serving(server__trusted_proxies=trusted) as served:
            login = await served.ask("/dashboard/session", "POST", key="", body={"key": READ}, headers=told)
            assert ("; Secure" in login.headers["set-cookie"]) == secure
            cookie = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
            logout = await served.ask("/dashboard/session", "DELETE", key="", headers=told | cookie | SAME)
            assert ("; Secure" in logout.headers["set-cookie"]) == secure


async def test_a_cookie_over_tls_in_the_service_is_secure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MoorageProcess(*authority.make().flags, f"--set=admin.read_key={READ}") as service:
        body = json.dumps({"key": READ}).encode()
        given = {"Content-Type": "application/json"}
        reply = await fetch(service.url, "/dashboard/session", method="POST", headers=given, body=body)
        assert service.url.startswith("https://")
        assert "; Secure" in reply.headers["set-cookie"]


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_foreign_page_cannot_sign_its_visitor_in(served: Served, headers: dict[str, str]) -> None:
    given = {"body": {"key": READ}, "headers": headers, "key": ""}
    assert await served.code("/dashboard/session", "POST", **given) == (403, "admin-cross-site")


async def test_no_path_is_redirected_to_a_host_that_the_caller_names(served: Served) -> None:
    for path in ("/dashboard/session/", "/dashboard/"):
        reply = await served.ask(path, key="", headers={"Host": "evil.example"})
        assert "evil" not in reply.headers.get("location", ""), reply


async def test_a_logout(served: Served) -> None:
    cookie = await served.cookie()
    reply = await served.ask("/dashboard/session", "DELETE", key="", headers={"Cookie": cookie} | SAME)
    assert reply.status == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert await served.code("/dashboard/session", "DELETE", key="") == (403, "admin-cross-site")
    assert await served.code("/dashboard/session", "PUT", key="") == (405, "api-bad-method")


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 9000])
async def test_a_cookie_that_is_no_session(served: Served, value: str) -> None:
    expected = (401, "admin-session-over" if value else "admin-no-key")
    assert await served.code("/hubs", key="", headers={"Cookie": f"moorage_admin={value}"}) == expected


async def test_an_expired_session(served: Served) -> None:
    assert served.service.admin is not None
    token = served.service.admin.keys.begin_session(Role.OPERATE, time.time() - 100, 50)
    code = await served.code("/hubs", key="", headers={"Cookie": f"moorage_admin={token}"})
    assert code == (401, "admin-session-over")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Moorage-Admin": "0"}, 403),
        (SAME, 404),
        (SAME | {"Origin": "https://evil.example"}, 403),
        (SAME | {"Origin": "null"}, 403),
        (SAME | {"Origin": "http://[::1"}, 403),
        (SAME | {"Origin": "http://HOST.evil.example"}, 403),
        (SAME | {"Origin": "http://HOST"}, 404),
        (SAME | {"Sec-Fetch-Site": "cross-site"}, 403),
        (SAME | {"Sec-Fetch-Site": "same-site"}, 403),
        (SAME | {"Sec-Fetch-Site": "same-origin", "Origin": "http://HOST"}, 404),
    ],
)
async def test_other_sites_cannot_act_with_a_visitors_cookie(
    served: Served, headers: dict[str, str], status: int
) -> None:
    host = served.url.removeprefix("http://")
    sent = {name: value.replace("HOST", host) for name, value in headers.items()}
    sent["Cookie"] = await served.cookie()
    reply = await served.ask("/disconnect", "POST", key="", body=DISCONNECT, headers=sent)
    assert reply.status == status
    assert reply.json()["code"] == {403: "admin-cross-site", 404: "api-not-found"}[status]


async def test_the_public_endpoint_is_an_own_origin() -> None:
    async with serving(server__public_endpoint="https://live.example.org") as served:
        cookie = await served.cookie()
        headers = SAME | {"Cookie": cookie, "Origin": "https://live.example.org"}
        assert (
            await served.ask("/disconnect", "POST", key="", body=DISCONNECT, headers=headers)
        ).status == 404


async def test_pages_of_other_origins_read_nothing(served: Served) -> None:
    headers = {"Cookie": await served.cookie(), "Origin": "https://evil.example"}
    reply = await served.ask("/hubs", key="", headers=headers)
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    reply = await served.ask("/disconnect", "OPTIONS", key="", headers=preflight)
    assert reply.status == 401 and "access-control-allow-origin" not in reply.headers
