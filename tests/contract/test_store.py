"""Contract of `cluster.recovery.ports.Store`, for every implementation."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from moorage.cluster.recovery.jetstream import JetStreamStore
from moorage.cluster.recovery.memory import MemoryStore, MemoryStores
from moorage.cluster.recovery.ports import Store, StoreError
from moorage.cluster.settings import ClusterSettings
from tests.support.nats_server import NatsServer


class Stores:
    """Stores of several nodes, and a way to break what is behind them."""

    def __init__(self, make: Callable[[str], Awaitable[Store]], fail: Callable[[], object]) -> None:
        self.make = make
        self.fail = fail


async def stored(store: Store, *entries: bytes) -> list[bool]:
    """Append entries, and wait until the fate of each is known."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[bool]] = [loop.create_future() for _ in entries]
    for entry, future in zip(entries, futures, strict=True):
        store.append(entry, future.set_result)
    return await asyncio.gather(*futures)


async def entries_come_back_in_order(stores: Stores) -> None:
    store, reader = await stores.make("n0"), await stores.make("n1")
    first = [b"%d" % number for number in range(500)]
    assert all(await stored(store, *first))
    second = [bytes(100_000), bytes(300_000), b"last"]
    assert all(await stored(store, *second))
    assert await reader.read("n0") == [*first, *second]
    assert await store.read("n0") == [*first, *second]


async def each_node_has_a_log_of_its_own(stores: Stores) -> None:
    one, other = await stores.make("n0"), await stores.make("n1")
    await asyncio.gather(stored(one, b"a"), stored(other, b"b"))
    assert await one.read("n1") == [b"b"]
    assert await other.read("n0") == [b"a"]
    assert await other.read("nobody") == []


async def one_of_several_claims_a_session(stores: Stores) -> None:
    owner = await stores.make("n0")
    others = [await stores.make(f"n{number}") for number in range(1, 4)]
    owner.put("pid-1", b"facts")
    owner.put("pid_2", b"others")
    while (claimed := await others[0].claim("pid_2")) is None:
        pass
    assert claimed == b"others"
    found = await asyncio.gather(*(other.claim("pid-1") for other in others))
    assert sorted(found, key=str) == [None, None, b"facts"]
    assert await others[0].claim("pid-3") is None
    others[0].put("pid-1", b"again")
    while (claimed := await others[1].claim("pid-1")) is None:
        pass
    assert claimed == b"again"


async def a_session_that_was_dropped_cannot_be_claimed(stores: Stores) -> None:
    owner, other = await stores.make("n0"), await stores.make("n1")
    owner.put("pid", b"facts")
    while await other.claim("pid") is None:
        pass
    owner.put("pid", b"facts")
    owner.drop("pid")
    owner.put("next", b"facts")
    while await other.claim("next") is None:
        pass
    assert await other.claim("pid") is None


async def without_a_server_entries_are_not_stored_and_nobody_claims(stores: Stores) -> None:
    owner = await stores.make("n0")
    assert await stored(owner, b"a") == [True]
    stores.fail()
    assert await stored(owner, b"b") == [False]
    owner.put("pid", b"facts")
    owner.drop("pid")
    with pytest.raises(StoreError):
        await owner.claim("pid")
    with pytest.raises(StoreError):
        await owner.read("n0")


RULES = (
    entries_come_back_in_order,
    each_node_has_a_log_of_its_own,
    one_of_several_claims_a_session,
    a_session_that_was_dropped_cannot_be_claimed,
    without_a_server_entries_are_not_stored_and_nobody_claims,
)


@pytest.mark.parametrize("rule", RULES)
async def test_in_memory(rule: Callable[[Stores], Awaitable[None]]) -> None:
    server = MemoryStores()
    made: list[MemoryStore] = []

    async def make(node: str) -> Store:
        made.append(MemoryStore(server, node))
        return made[-1]

    def fail() -> None:
        server.failing = True

    await rule(Stores(make, fail))
    for store in made:
        await store.stop()


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "file"])
@pytest.mark.parametrize("rule", RULES)
async def test_on_jetstream(
    rule: Callable[[Stores], Awaitable[None]], in_memory: bool, tmp_path: Path
) -> None:
    with NatsServer("-js", "-sd", str(tmp_path)) as server:
        made: list[JetStreamStore] = []
        settings = ClusterSettings(nats_url=(server.url,), name=secrets.token_hex(4))

        async def make(node: str) -> Store:
            store = JetStreamStore(settings, node, seconds=60.0, max_bytes=10_000_000, in_memory=in_memory)
            made.append(store)
            await store.start()
            return store

        await rule(Stores(make, server.end))
        for store in made:
            await store.stop()
