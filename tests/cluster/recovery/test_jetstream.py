"""Journals on a real nats-server with JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest

from moorage.cluster.recovery import jetstream
from moorage.cluster.recovery.jetstream import JetStreamStore
from moorage.cluster.recovery.lost_nodes import StoreError
from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError
from tests.cluster.nats.test_login import Nkey, Run, starter, with_credentials, with_tls
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


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    return starter(tmp_path, request)


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


async def test_what_strangers_write_beside_a_journal(stores: Stores) -> None:
    lost, heir = await stores.start("lost"), await stores.start("heir")
    assert await put(lost, b"page")
    for name in ("lost.garbage", "lost.-1", "lost.1e3", "stranger.x"):
        await heir._js.publish(f"moorage.moorage.recovery.{name}", b"\xff")
    assert await heir.others() == ["lost"]
    assert await heir.take_over("lost") == [b"page"]
    assert await heir.take_over("stranger") is None


async def test_answers_that_are_not_those_of_jetstream(stores: Stores) -> None:
    """Another program sees where answers are expected. Here it is the only one that answers."""
    store = await stores.start("node")
    await store._manager.delete_stream("moorage-moorage-recovery")
    answers = [b"garbage", b"", b"\xff", b"{}", b"[]", b"7", b'{"error":1}', b'{"error":{}}', b'{"a":1}']
    left = iter(answers)

    async def answer(message: Any) -> None:
        await message.respond(next(left))

    stranger = await nats_client.connect(stores.cluster.nats_url[0])
    await stranger.subscribe("moorage.moorage.recovery.>", cb=answer)
    await stranger.flush()
    assert [await put(store, b"page") for _ in answers] == [False] * len(answers)
    await stranger.close()


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


async def started(
    run: Run, folder: Path, config: str, scheme: str = "nats", **settings: Any
) -> JetStreamStore:
    """A store on a server with this configuration."""
    server = run(f'{config}\njetstream {{ store_dir: "{folder / "js"}" }}\n').server
    store = JetStreamStore(SETTINGS, "node", seconds=60.0)
    await store.start(ClusterSettings(nats_url=(f"{scheme}://127.0.0.1:{server.port}",), **settings))
    return store


async def test_an_nkey(run: Run, tmp_path: Path) -> None:
    key, seed = Nkey(), tmp_path / "node.nk"
    seed.write_text(f"# the node\n{key.seed}\n")
    users = f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}"
    store = await started(run, tmp_path, users, nats_nkey=str(seed))
    assert await put(store, b"page")
    await store.stop(forget=True)
    # At a reconnect the file may be gone for a moment.
    seed.unlink()
    with pytest.raises(OSError, match=r"cluster\.nats_nkey: No such file"):
        store._sign("nonce")
    with pytest.raises(UsageError, match=r"recovery\.store: .*cluster\.nats_nkey: No such file"):
        await started(run, tmp_path, users, nats_nkey=str(seed))


async def test_a_credentials_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "node.creds"
    storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    store = await started(run, tmp_path, with_credentials(file, storage), nats_credentials=str(file))
    assert await put(store, b"page")
    await store.stop(forget=True)


async def test_a_server_that_expects_tls_before_it_says_anything(run: Run, tmp_path: Path) -> None:
    config, ca = with_tls(tmp_path, ", handshake_first: true"), str(tmp_path / "ca.pem")
    for scheme in ("tls", "nats"):
        store = await started(run, tmp_path, config, scheme, nats_ca=ca, nats_tls_first=True)
        assert await put(store, b"page")
        await store.stop(forget=True)
    with pytest.raises(UsageError, match=r"recovery\.store: .*cluster\.nats_ca: No such file"):
        await started(run, tmp_path, config, nats_ca=ca + "x", nats_tls_first=True)
