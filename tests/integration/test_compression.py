"""Compressed broadcasts to stock clients in Node.js and in Chromium, over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.support.certificates import Authority
from tests.support.service import MoorageProcess

CLIENTS = Path(__file__).with_name("compressed_clients.mjs")
TEXT = "a compressible text, " * 200
COUNT = 20

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoorageProcess]:
    """A service with TLS and compression."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(authority.file))
    with MoorageProcess(*authority.make().flags, "--set=server.compression.enabled=true") as running:
        yield running


@pytest.mark.parametrize("kind", ["node", "chromium"])
async def test_stock_clients(service: MoorageProcess, kind: str) -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    texts: list[str] = []

    @sio.event  # type: ignore[untyped-decorator]
    async def go(sid: str, text: str) -> None:
        # The client has compressed it.
        texts.append(text)
        for number in range(COUNT):
            await sio.emit("news", (text * (number % 4), bytes(5_000)))

    context = ssl.create_default_context()
    given: dict[str, Any] = {"connection_string": service.connection_string, "ssl_context": context}
    async with await use_moorage(sio, hub="app", **given):
        driver = await asyncio.create_subprocess_exec(
            "node", CLIENTS, kind, service.url, "/clients/socketio/hubs/app/", TEXT, str(COUNT), stdout=PIPE
        )
        output, _ = await driver.communicate()
        assert driver.returncode == 0
    result = json.loads(output)
    assert texts == [TEXT]
    assert result["news"] == [[len(TEXT) * (number % 4), 5_000] for number in range(COUNT)]
    assert "permessage-deflate" in result["extensions"]
    saved = await asyncio.to_thread(service.metric, "moorage_compression_saved_bytes_total")
    assert saved > COUNT * 4_900
