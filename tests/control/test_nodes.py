"""`GET /api/v1/nodes`: who may ask, and what is counted."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from starlette.applications import Starlette

from moorage.auth import AccessKeys, AuthSettings
from moorage.control.nodes import PATH, route
from tests.support.asgi import ask

KEY = "k" * 32
BASE = "http://testserver"


def token(audience: str = BASE + PATH, key: str = KEY) -> dict[str, str]:
    # Some are made when the tests are collected, minutes before they are used.
    made = jwt.encode({"aud": audience, "exp": int(time.time()) + 3_600}, key)
    return {"host": "testserver", "authorization": f"Bearer {made}"}


@pytest.fixture
def counted() -> list[tuple[str, int, str | None]]:
    return []


@pytest.fixture
def app(counted: list[tuple[str, int, str | None]]) -> Starlette:
    made = route(
        lambda: [{"name": "a"}],
        keys=AccessKeys(KEY, None),
        settings=AuthSettings(),
        public_endpoint="",
        clock=time.time,
        count=lambda *args: counted.append(args),
    )
    return Starlette(routes=[made])


async def test_a_list(app: Starlette, counted: list[tuple[str, int, str | None]]) -> None:
    answer = await ask(app, PATH, headers=token())
    assert (answer.status, json.loads(answer.body)) == (200, {"nodes": [{"name": "a"}]})
    assert answer.headers["cache-control"] == "no-store"
    assert counted == [("nodes", 200, None)]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "testserver"}, "token-missing"),
        (token(key="x" * 32), "token-signature"),
        (token(audience=f"{BASE}/api/hubs/h/:send"), "token-audience"),
    ],
)
async def test_a_refusal(
    app: Starlette, counted: list[tuple[str, int, str | None]], headers: dict[str, str], reason: str
) -> None:
    answer = await ask(app, PATH, headers=headers)
    assert (answer.status, json.loads(answer.body)["code"]) == (401, reason)
    assert counted == [("nodes", 401, reason)]


async def test_other_methods(app: Starlette) -> None:
    assert (await ask(app, PATH, "POST", token())).status == 405
