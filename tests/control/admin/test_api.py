"""The HTTP side of the Admin API: roles, and what strangers may send."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from moorage.control.admin.api import MAX_BODY, MAX_QUERY
from tests.control.admin.serving import ACCESS, OPERATE, READ, Served, serving
from tests.support.rawhttp import HttpConnection

DISCONNECT = {"hub": "app", "user": "ada"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made


# -- keys and roles ---------------------------------------------------------------------------------

READS = [
    "/session",
    "/nodes",
    "/hubs",
    "/apps",
    "/connections",
    "/rooms",
    "/history",
    "/disconnects",
    "/audit",
]
ACTIONS: list[tuple[str, Any]] = [
    ("/emit", {"hub": "app", "event": "x"}),
    ("/join", DISCONNECT | {"rooms": ["r"]}),
    ("/leave", DISCONNECT | {"rooms": ["r"]}),
    ("/disconnect", DISCONNECT),
    ("/nodes/nobody/drain", None),
]


async def test_no_operation_without_a_key(served: Served) -> None:
    for path in [*READS, "/connections/x"]:
        assert await served.code(path, key="") == (401, "admin-no-key")
    for path, body in ACTIONS:
        assert await served.code(path, "POST", key="", body=body) == (401, "admin-no-key")


async def test_roles(served: Served) -> None:
    for path in READS:
        assert (await served.ask(path, key=READ)).status == 200
        assert (await served.ask(path)).status == 200
    for path, body in ACTIONS:
        assert await served.code(path, "POST", key=READ, body=body) == (403, "admin-role")
        assert (await served.ask(path, "POST", body=body)).status in (200, 202, 404)


async def test_an_action_that_is_refused_for_its_role_is_noted(served: Served) -> None:
    await served.ask("/disconnect", "POST", key=READ, body=DISCONNECT)
    (row,) = (await served.ask("/audit")).json()["actions"]
    assert (row["action"], row["role"], row["outcome"]) == ("disconnect", "read", "admin-role")


# -- requests that are refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/",
        "/api/v1/none",
        "/api/v1/hubs/",
        "/api/v1//hubs",
        "/api/v1/../v1/hubs",
        "/api/v1/%2e%2e/hubs",
        "/api/v1/hubs%2f",
        "/api/v1/hubs%00",
        "/api/v1/%0d%0aX:1",
        "/api/v1/hubs;x=1",
    ],
)
async def test_path_tricks(served: Served, path: str) -> None:
    assert await served.code(path) == (404, "api-bad-path")
    # A stranger is not told which paths there are.
    assert await served.code(path, key="") == (401, "admin-no-key")


@pytest.mark.parametrize("path", ["/API/v1/hubs", "/api/V1/hubs", "/api/v2/hubs", "/%61pi/v1/hubs"])
async def test_paths_of_others(served: Served, path: str) -> None:
    assert (await served.ask(path)).status in (401, 404)


async def test_methods(served: Served) -> None:
    reply = await served.ask("/hubs", "POST", body={})
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    reply = await served.ask("/openapi.json", "DELETE", key="")
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    async with await HttpConnection.open(served.url) as http:
        await http.send(
            f"HEAD /api/v1/hubs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ}\r\n\r\n".encode()
        )
        assert b"200 OK" in await http.reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    "query",
    [
        "x=1",
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "limit=null",
        "min_age=nan",
        "min_age=-1",
        "min_age=null",
        "user=",
        "user=" + "x" * 1025,
        "address=" + "x" * 65,
        "cursor=x",
        "cursor=a/b/c",
        "user=%ff",
        "&".join(f"a{number}=1" for number in range(60)),
    ],
)
async def test_bad_parameters(served: Served, query: str) -> None:
    assert await served.code(f"/connections?{query}") == (400, "api-bad-argument")


async def test_a_huge_filter(served: Served) -> None:
    long = f"/connections?user={'x' * (MAX_QUERY + 1)}"
    assert await served.code(long) == (400, "api-bad-argument")
    assert (await served.ask(f"/connections?user={'x' * 20_000}")).status == 431


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "api-bad-body"),
        (b"{", "api-bad-body"),
        (b"[]", "api-bad-body"),
        (b"\xff", "api-bad-body"),
        (b"[" * 100_000, "api-bad-body"),
        (b'{"hub":"app"}', "api-bad-body"),
        (b'{"hub":"app","user":"a","x":1}', "api-bad-body"),
        (b'{"hub":"app","user":"a","connection":"b"}', "api-bad-body"),
        (b'{"hub":"app","user":null}', "api-bad-body"),
        (b'{"hub":"../x","user":"a"}', "api-bad-body"),
        (b'{"hub":"app","user":"' + b"x" * MAX_BODY + b'"}', "api-body-too-large"),
    ],
)
async def test_bad_bodies(served: Served, body: bytes, code: str) -> None:
    assert (await served.code("/disconnect", "POST", body=body))[1] == code


async def test_a_wrong_name_is_explained_without_a_regular_expression(served: Served) -> None:
    for fields, told in (
        ({"hub": "../x"}, "hub: expected a letter, then"),
        ({"hub": "app", "namespace": "chat"}, "namespace: expected a text that begins with /"),
        ({"hub": "app", "user": 5}, "Expected `str`, got `int` - at `$.user`"),
    ):
        refused = await served.ask("/disconnect", "POST", body={"user": "a", **fields})
        assert told in refused.json()["message"]
        assert "regex" not in refused.json()["message"]


async def test_arguments_of_any_depth(served: Served) -> None:
    """Where the stack ends, reading may just succeed, and what is done next may just fail."""
    statuses = set()
    for depth in range(900, 1_000):
        body = b'{"hub":"app","event":"e","args":[' + b"[" * depth + b"]" * depth + b"]}"
        statuses.add((await served.ask("/emit", "POST", body=body)).status)
    assert statuses == {202, 400}


async def test_an_event_that_clients_cannot_take(served: Served) -> None:
    body = {"hub": "app", "event": "connect"}
    assert await served.code("/emit", "POST", body=body) == (400, "api-bad-payload")


async def test_other_content_types(served: Served) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    expected = (415, "api-bad-content-type")
    assert await served.code("/disconnect", "POST", body=b"hub=app", headers=form) == expected
    assert await served.code("/dashboard/session", "POST", key="", body=b"key=x", headers=form) == expected


async def test_a_body_that_ends_early(served: Served) -> None:
    async with await HttpConnection.open(served.url) as http:
        head = f"POST /api/v1/disconnect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATE}\r\n"
        await http.send(f"{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
    # The next request shows that the service goes on.
    assert (await served.ask("/hubs")).status == 200


async def test_a_host_that_is_none(served: Served) -> None:
    assert await served.code("/hubs", headers={"Host": "a/b"}) == (400, "bad-request")


async def test_every_answer_is_for_its_reader_alone(served: Served) -> None:
    for path, key in (("/hubs", READ), ("/none", READ), ("/hubs", ""), ("/openapi.json", "")):
        headers = (await served.ask(path, key=key)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"].startswith("application/json")
    refused = await served.ask("/hubs", key="")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_a_wrong_key_is_not_repeated(served: Served) -> None:
    reply = await served.ask("/dashboard/session", "POST", key="", body={"key": "my-secret-guess"})
    assert reply.status == 401 and "my-secret-guess" not in reply.text
    reply = await served.ask("/dashboard/session", "POST", key="", body={"key": 12345678})
    assert reply.status == 400 and "12345678" not in reply.text


# -- off ------------------------------------------------------------------------------------------------


async def test_without_keys_nothing_is_there() -> None:
    async with serving(admin__read_key="", admin__operate_key="") as served:
        other = await served.ask("/api/unknown/thing", key="")
        for path in ("/hubs", "/openapi.json", "/connections/x"):
            reply = await served.ask(path, key="")
            assert (reply.status, reply.json()["code"]) == (other.status, other.json()["code"])
        assert (await served.ask("/dashboard/session", "POST", key="", body={"key": ""})).status == 404
        claims = {"aud": f"{served.url}/api/v1/nodes", "exp": int(time.time()) + 60}
        nodes = (await served.ask("/nodes", key=jwt.encode(claims, ACCESS))).json()
        assert len(nodes["nodes"]) == 1
        assert served.service.node.inspections.inspector is None
        assert json.dumps(nodes)
