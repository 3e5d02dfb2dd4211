"""A JetStream that is slow, full or missing. The rest is in `tests/contract/test_store.py`."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from moorage.cluster.recovery.jetstream import JetStreamStore
from moorage.cluster.recovery.ports import StoreError
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError
from tests.support.nats_server import NatsServer


def store_on(
    server: NatsServer, node: str = "n0", *, name: str = "", max_bytes: int = 10_000_000
) -> JetStreamStore:
    settings = ClusterSettings(nats_url=(server.url,), name=name or secrets.token_hex(4))
    return JetStreamStore(settings, node, seconds=60.0, max_bytes=max_bytes)


async def append(store: JetStreamStore, entry: bytes) -> bool:
    stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    store.append(entry, stored.set_result)
    return await stored


async def test_a_server_that_stands_still_fails_in_time_and_works_again(tmp_path: Path) -> None:
    with NatsServer("-js", "-sd", str(tmp_path)) as server:
        store = store_on(server)
        await store.start()
        assert await append(store, b"a")
        server.pause()
        try:
            # The server may answer once more before it stands still.
            while await append(store, b"b"):
                pass
            with pytest.raises(StoreError):
                await store.claim("pid")
        finally:
            server.go_on()
        assert await append(store, b"c")
        assert await store.read("n0") == [b"c"]
        assert store.lost == 1
        await store.stop()


async def test_a_full_stream_loses_its_oldest_entries(tmp_path: Path) -> None:
    with NatsServer("-js", "-sd", str(tmp_path)) as server:
        store = store_on(server, max_bytes=100_000)
        await store.start()
        for number in range(30):
            assert await append(store, bytes([number]) * 10_000)
        kept = await store.read("n0")
        assert 5 <= len(kept) < 10
        assert kept[-1][0] == 29
        await store.stop()


async def test_a_second_node_may_have_other_limits(tmp_path: Path) -> None:
    with NatsServer("-js", "-sd", str(tmp_path)) as server:
        one, other = store_on(server, name="shared"), store_on(server, "n1", name="shared", max_bytes=50_000)
        await one.start()
        await other.start()
        assert await append(one, b"a")
        assert await other.read("n0") == [b"a"]
        await one.stop()
        await other.stop()


async def test_a_server_without_jetstream_cannot_be_used() -> None:
    with NatsServer() as server, pytest.raises(UsageError, match="JetStream cannot be used"):
        await store_on(server).start()
