"""Packets leave when what they are about is stored."""

from __future__ import annotations

from tests.hub.fakes import sink_of
from tests.hub.journal.loss import Keeper
from tests.hub.recovery.stage import ROOT


def written(keeper: Keeper, client: object) -> bytes:
    """What a client has got."""
    return b"".join(sink_of(client).packets)  # type: ignore[arg-type]


def test_a_client_waits_for_the_page() -> None:
    keeper = Keeper()
    client = keeper.client()
    store = keeper.world.store
    store.silent = True
    keeper.emit(ROOT, b'42["a",1]')
    keeper.world.settle()
    assert b'"a"' not in written(keeper, client.connection)
    keeper.emit(ROOT, b'42["b",2]')
    keeper.world.settle()
    store.answer()
    assert b'"a"' in written(keeper, client.connection)
    assert b'"b"' not in written(keeper, client.connection), "its page is on its way"
    store.answer()
    assert b'"b"' in written(keeper, client.connection)


def test_a_client_that_can_be_written_to_again_waits_too() -> None:
    keeper = Keeper()
    client = keeper.client()
    other = keeper.world.client()
    box, store = client.connection.outbox, keeper.world.store
    store.silent = True
    box.block()
    keeper.emit(ROOT, b'42["a",1]')
    box.unblock()
    box.block()
    box.unblock()
    other.outbox.push(b"\x81\x012")
    other.outbox.block()
    other.outbox.unblock()
    assert b"2" in written(keeper, other), "it has no socket that may be recovered"
    assert b'"a"' not in written(keeper, client.connection)
    keeper.world.settle()
    store.silent = False
    keeper.world.settle()
    assert b'"a"' in written(keeper, client.connection)


def test_a_large_fan_out_waits() -> None:
    keeper = Keeper()
    clients = [keeper.client() for _ in range(450)]
    strangers = [keeper.world.client() for _ in range(3)]
    store = keeper.world.store
    store.silent = True
    keeper.emit(ROOT, b'42["a",1]')
    keeper.world.node.flusher.spread(b"2", b"\x81\x012", strangers, 1_000, 1)
    keeper.world.settle()
    assert not any(b'"a"' in written(keeper, client.connection) for client in clients)
    assert all(b"2" in written(keeper, each) for each in strangers)
    store.silent = False
    keeper.world.settle()
    assert all(b'"a"' in written(keeper, client.connection) for client in clients)


def test_without_the_store_nobody_waits() -> None:
    keeper = Keeper()
    client = keeper.client()
    keeper.world.store.works = False
    keeper.emit(ROOT, b'42["a",1]')
    keeper.world.settle()
    keeper.emit(ROOT, b'42["b",2]')
    keeper.world.settle()
    assert [part in written(keeper, client.connection) for part in (b'"a"', b'"b"')] == [True, True]
