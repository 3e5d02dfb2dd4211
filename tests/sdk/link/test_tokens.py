"""Access tokens that the Python SDK makes, at the service itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from moorage.sdk import UsageError, client_access, client_token, use_moorage
from tests.support.python_client import PATIENCE
from tests.support.rawhttp import fetch
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(28)


@pytest.fixture(scope="module")
def closed() -> Iterator[MoorageProcess]:
    """A service that lets nobody in without a token."""
    with MoorageProcess("--set", "hubs.default.anonymous=false") as service:
        yield service


async def status(service: MoorageProcess, token: str, hub: str = "app") -> tuple[int, str]:
    """What a client with this token is answered: without an app server an accepted one gets 503."""
    target = f"/clients/socketio/hubs/{hub}/?EIO=4&transport=polling&access_token={token}"
    reply = await fetch(service.url, target)
    return reply.status, reply.json()["reason"]


async def test_a_token_opens_its_hub_only(closed: MoorageProcess) -> None:
    token = client_token(closed.connection_string, hub="app", user_id="ada")
    assert await status(closed, token) == (503, "no-app-server")
    assert await status(closed, token, "other") == (401, "token-audience")
    assert (await status(closed, token + "x"))[0] == 401


async def test_the_app_sees_user_and_claims(closed: MoorageProcess) -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    seen: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sio.on("connect", lambda sid, environ: seen.put_nowait(environ))
    moorage = await use_moorage(sio, hub="seen", connection_string=closed.connection_string)
    access = client_access(
        closed.connection_string, hub="seen", user_id="ada", ttl=60, claims={"team": ["a", "b"]}
    )
    assert access["path"] == "/clients/socketio/hubs/seen"
    client = socketio.AsyncClient(reconnection=False)
    url = f"{access['endpoint']}?access_token={access['token']}"
    await client.connect(url, socketio_path=access["path"], transports=["websocket"], wait_timeout=PATIENCE)
    environ = await seen.get()
    assert environ["moorage.user_id"] == "ada"
    assert environ["moorage.claims"]["team"] == ["a", "b"]
    exp, iat = (int(environ["moorage.claims"][name][0]) for name in ("exp", "iat"))
    assert 60 <= exp - iat <= 61
    await client.disconnect()
    await moorage.close()


async def test_an_expired_token_is_refused(closed: MoorageProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.sdk.link.tokens.time.time", lambda: 1_000_000.0)
    token = client_token(closed.connection_string, hub="app", ttl=1)
    assert await status(closed, token) == (401, "token-expired")


def test_what_cannot_work_is_said() -> None:
    where = "Endpoint=https://chat.example/behind;AccessKey=k;"
    assert client_access(where, hub="h")["endpoint"] == "https://chat.example"
    assert client_access(where, hub="h")["path"] == "/behind/clients/socketio/hubs/h"
    for ttl in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="ttl"):
            client_token(where, hub="h", ttl=ttl)
    with pytest.raises(UsageError, match="hub"):
        client_token(where, hub="no hub")
    with pytest.raises(UsageError, match="exp"):
        client_token(where, hub="h", claims={"exp": 1})
    with pytest.raises(UsageError, match="user_id must be text, not 7"):
        client_token(where, hub="h", user_id=7)  # type: ignore[arg-type]  # an id of a database, from untyped code
    with pytest.raises(UsageError, match="groups must be a list of names, not 'admins'"):
        client_token(where, hub="h", groups="admins")
