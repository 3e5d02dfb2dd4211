"""The store in memory. What it does as a store is in `tests/contract/test_store.py`."""

from __future__ import annotations

import pytest

from moorage.cluster.recovery.memory import MemoryStore, MemoryStores
from moorage.cluster.recovery.ports import StoreError


async def test_a_server_that_recovers_has_what_it_had() -> None:
    server = MemoryStores()
    store = MemoryStore(server, "n0")
    store.put("pid", b"facts")
    server.failing = True
    with pytest.raises(StoreError):
        await store.claim("pid")
    server.failing = False
    assert await store.claim("pid") == b"facts"
