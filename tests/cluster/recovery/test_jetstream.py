"""Journals on a real nats-server with JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moorage.cluster.recovery import jetstream
from moorage.cluster.recovery.jetstream import JetStreamStore
from moorage.cluster.recovery.lost_nodes import StoreError
from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError
from tests.support.nats_server import NatsServer

SETTINGS = StoreSettings(store="jetstream", max_bytes=64 * 1024 * 1024)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk may need more than the second that a service waits for."""
    monkeypatch.setattr(jetstream, "SECONDS", 30.0)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer("-js", "-sd", str(tmp_path)) as server:
        yield server


class Stores:
    """The stores of several nodes."""

    def __init__(self, nats: NatsServer) -> None:
        self.cluster = ClusterSettings(nats_url=(nats.url,))
        self.made: list[JetStreamStore] = []

    async def start(
        self, node: str, settings: StoreSettings = SETTINGS, seconds: float = 60.0
    ) -> JetStreamStore:
        store = JetStreamStore(settings, node, seconds=seconds)
        self.made.append(store)
        await store.start(self.cluster)
        return store


@pytest.fixture
async def stores(nats: NatsServer) -> AsyncIterator[Stores]:
    made = Stores(nats)
    yield made
    for store in made.made:
        await store.stop(forget=False)


async def put(store: JetStreamStore, page: bytes) -> bool:
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    store.put(page, done.set_result)
    return await done


async def test_the_pages_of_a_lost_node(stores: Stores) -> None:
    lost, heir = await stores.start("lost"), await stores.start("heir", seconds=90.0)
    large = bytes(3 * jetstream.PIECE + 7)
    pages = [b"", b"one", large, *(b"%d" % number for number in range(300))]
    assert all([await put(lost, page) for page in pages])
    assert await heir.others() == ["lost"]
    assert await heir.take_over("lost") == pages
    assert await heir.take_over("nobody") is None


async def test_one_of_two_heirs_wins(stores: Stores) -> None:
    lost = await stores.start("lost")
    assert await put(lost, b"page")
    heirs = [await stores.start(f"heir-{number}") for number in range(3)]
    found = await asyncio.gather(*(heir.take_over("lost") for heir in heirs))
    assert sorted(found, key=bool) == [None, None, [b"page"]]


async def test_a_node_that_was_held_for_lost_begins_a_new_journal(stores: Stores) -> None:
    lost, heir = await stores.start("lost"), await stores.start("heir")
    assert await put(lost, b"old")
    assert await heir.take_over("lost") == [b"old"]
    assert not await put(lost, b"refused")
    assert not await put(lost, b"it learns why")
    assert await put(lost, b"new")
    assert await heir.take_over("lost") == [b"new"]


async def test_a_node_that_leaves_forgets_its_journal(stores: Stores) -> None:
    lost, heir = await stores.start("lost"), await stores.start("heir")
    assert await put(lost, b"page")
    stores.made.remove(lost)
    await lost.stop(forget=True)
    assert await heir.others() == []


async def test_a_server_that_is_gone(
    stores: Stores, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.start("lost")
    assert await put(store, b"page")
    nats.end()
    with monkeypatch.context() as gone:
        gone.setattr(jetstream, "SECONDS", 0.2)
        assert not await put(store, b"lost")
    with pytest.raises(StoreError):
        await store.take_over("other")
    with pytest.raises(StoreError):
        await store.others()
    nats.start()
    async with asyncio.timeout(60):
        while not await put(store, b"again"):
            await asyncio.sleep(0.1)  # between two attempts


async def test_a_full_server_drops_the_oldest(stores: Stores) -> None:
    small = StoreSettings(store="jetstream", max_bytes=1024 * 1024)
    lost, heir = await stores.start("lost", small), await stores.start("heir", small)
    for number in range(40):
        assert await put(lost, b"%02d" % number + bytes(50_000))
    pages = await heir.take_over("lost")
    assert pages is not None
    assert 5 < len(pages) < 25
    assert pages[-1][:2] == b"39"


async def test_a_server_without_space(tmp_path: Path) -> None:
    file = tmp_path / "nats.conf"
    file.write_text(f'jetstream {{ store_dir: "{tmp_path}", max_file_store: 10MB }}')
    with NatsServer("-c", str(file)) as server:
        store = JetStreamStore(SETTINGS, "node", seconds=60.0)
        with pytest.raises(UsageError, match=r"recovery\.max_bytes: .* no space for 67108864 bytes"):
            await store.start(ClusterSettings(nats_url=(server.url,)))
        await store.stop(forget=False)


async def test_a_server_without_jetstream() -> None:
    with NatsServer() as server:
        store = JetStreamStore(SETTINGS, "node", seconds=60.0)
        with pytest.raises(UsageError, match=r"recovery\.store: JetStream cannot be used"):
            await store.start(ClusterSettings(nats_url=(server.url,)))
        await store.stop(forget=False)


@pytest.mark.parametrize(
    ("flags", "user"),
    [(("--user", "a", "--pass", "b@c"), "a:b%40c@"), (("--auth", "secret"), "secret@")],
    ids=["password", "token"],
)
async def test_logins(tmp_path: Path, flags: tuple[str, ...], user: str) -> None:
    with NatsServer("-js", "-sd", str(tmp_path), *flags) as server:
        url = server.url.replace("nats://", f"nats://{user}")
        store = JetStreamStore(SETTINGS, "node", seconds=60.0)
        await store.start(ClusterSettings(nats_url=(url,)))
        assert await put(store, b"page")
        await store.stop(forget=True)
