"""The journal of a lost node has entries that no node writes, because another program has written to its
subject. The heir reads it, or gives it up, and nothing fails."""

from __future__ import annotations

from typing import get_args

import pytest

from moorage.wire.recovery import journal
from moorage.wire.recovery.journal import Event, Line
from tests.cluster.lies import Liar
from tests.cluster.recovery.keepers import LOST, Keepers
from tests.cluster.test_lies import TEXTS


def with_lies(pages: list[bytes], liar: Liar, epoch: str) -> list[bytes]:
    """The pages with made-up entries of all kinds between the others. Most have the log's own name."""
    kinds = list(get_args(Line))
    liar.random.shuffle(kinds)
    # A packet to one socket that is for none, and whose ack is awaited.
    lies: list[Line] = [Event(epoch, 1, 0.0, "/", b'42["x"]', (), ack=1)]
    for kind in kinds:
        lie = liar.value(kind)
        if hasattr(lie, "epoch") and liar.random.random() < 0.8:
            lie.epoch = epoch
        lies.append(lie)
    made = []
    for page in map(journal.decode_page, pages):
        entries = [bytes(entry) for entry in page.entries]
        for _ in range(-(-len(kinds) // len(pages)) + 1):
            if lies:
                entries.insert(liar.random.randrange(len(entries) + 1), journal.encode(lies.pop(0)))
        made.append(journal.encode_page(page.number, page.wall, page.now, entries))
    assert lies == []
    return made


@pytest.mark.parametrize("seed", range(12))
async def test_no_entry_of_a_journal_makes_the_heir_fail(seed: int) -> None:
    keepers = Keepers()
    clients = [keepers.client(0, "room"), keepers.client(0)]
    for at in (0, 1):
        keepers.emit(at, at + 1)
    keepers.tick(1.5)
    keepers.settle()
    store = keepers.stores[LOST]
    written = [journal.decode(raw) for page in store.pages for raw in journal.decode_page(page).entries]
    (epoch,) = {entry.epoch for entry in written if hasattr(entry, "epoch")}
    known = [text for client in clients for text in (client.connection.id, client.sid["/"], client.pid["/"])]
    store.pages[:] = with_lies(store.pages, Liar(seed, (*TEXTS, *known, *known, epoch)), epoch)
    keepers.die()
    await keepers.lose(1, 2)
    for client in clients:
        keepers.come_back(client, 2, answer=False)
        keepers.save(client)
    keepers.tick(60.0)
    keepers.settle()
    assert [fault for world in keepers.nodes.worlds for fault in world.faults] == []
