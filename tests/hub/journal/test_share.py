"""A node is lost, and then its heir. What clients that were away all the time lack is in the heir's log."""

from __future__ import annotations

import pytest

from moorage.hub.journal import share
from moorage.hub.turns import Job, finished
from moorage.wire.commands import JoinGroups, Selection
from moorage.wire.groups import room_group
from tests.hub.fakes import HUB
from tests.hub.journal.loss import INSTANCE, Keeper, emit
from tests.hub.recovery.stage import ROOT, refused, room


@pytest.fixture
def lost() -> Keeper:
    return Keeper()


@pytest.fixture
def heir() -> Keeper:
    return Keeper()


@pytest.mark.parametrize("between", [True, False], ids=["back", "away"])
@pytest.mark.parametrize("had", [True, False])
def test_the_heir_is_lost_too(lost: Keeper, heir: Keeper, between: bool, had: bool) -> None:
    client, last = lost.client(), Keeper()
    if had:
        lost.emit(ROOT, b'42["had",1]')
        client.read()
    lost.emit(ROOT, b'42["missed",2]')
    heir.inherit(lost)
    client.stage = heir
    client.save(b"{}")
    heir.emit(ROOT, b'42["at the heir",3]', 9)
    if between:
        client.come_back()
        assert [event[2] for event in client.events] == [2, 3]
        client.lose()
        heir.emit(ROOT, b'42["later",4]')
    last.inherit(heir)
    client.stage = last
    client.save(b"{}")
    client.come_back()
    assert [event[2] for event in client.events] == ([4] if between else [2, 3])
    assert refused(last) == {}
    assert last.heirs.inherited == 1


def test_heirs_are_lost_one_after_the_other(lost: Keeper) -> None:
    """All that a client lacks of the first nodes' logs is in the last one's."""
    client, other = lost.client("/", "/ns"), lost.client()
    joins = Selection(connection=client.connection.id)
    lost.world.execute(JoinGroups(HUB, joins, (room_group("/", "room"),)))
    lost.emit(ROOT, b'42["had",0]')
    client.read()
    other.read()
    numbers, nodes = [], [lost]
    for number in range(1, 9, 2):
        node = nodes[-1]
        node.emit(ROOT, b'42["to all",%d]' % number, 100 + number)
        node.emit(room("room"), b'42["to the room",%d]' % (number + 1), 101 + number)
        numbers += [number, number + 1]
        nodes.append(Keeper())
        nodes[-1].inherit(node)
        for each in (client, other):
            each.stage = nodes[-1]
            each.save(b"{}")
    client.come_back()
    assert [event[2] for event in client.events if event[0] == "/"] == numbers
    other.come_back()
    assert [event[2] for event in other.events] == numbers[::2]
    assert nodes[-1].heirs.inherited == 3


def test_events_with_acks_survive_a_second_loss(lost: Keeper, heir: Keeper) -> None:
    client, last = lost.client(), Keeper()
    lost.world.node.send(client.connection, b'421["a",1]')
    lost.world.node.send(client.connection, b'422["b",2]')
    client.read()
    lost.world.node.receive(client.connection, b"431[]")
    lost.world.settle()
    heir.inherit(lost)
    last.inherit(heir)
    client.stage = last
    client.save(b"")
    client.come_back()
    assert [event[1] for event in client.events] == ["b"]


def test_what_both_nodes_have_carried_out_comes_once_although_the_heir_is_lost_too(
    lost: Keeper, heir: Keeper
) -> None:
    client, last = lost.client(), Keeper()
    lost.emit(ROOT, b'42["both",1]', 1)
    heir.inherit(lost, settle=False)
    heir.emit(ROOT, b'42["both",1]', 1)
    heir.emit(ROOT, b'42["handed over",2]', 2)
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["handed over",2]', 2))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 2)
    heir.emit(ROOT, b'42["at the heir",3]', 3)
    last.inherit(heir)
    client.stage = last
    client.save(b"{}")
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 3]


@pytest.mark.parametrize("most", [0, 50])
def test_too_much_was_missed_for_a_second_loss(
    lost: Keeper, heir: Keeper, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events of the first sockets are stored once more. The others' clients get new sockets, and never a
    part."""
    monkeypatch.setattr(share, "MAX_REPEATED", most)
    last = Keeper()
    clients = [lost.client(), lost.client()]
    lost.emit(ROOT, b'42["missed",1]')
    heir.inherit(lost)
    last.inherit(heir)
    for client in clients:
        client.stage = last
        client.save(b"{}")
        client.come_back(answer=False)
    resumed = len(last.returns.sockets)
    assert resumed == (1 if most else 0) == last.heirs.inherited
    assert refused(last) == {"unknown": 2 - resumed}


def test_what_is_stored_once_more_is_stored_in_steps(
    lost: Keeper, heir: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [lost.client() for _ in range(5)]
    lost.emit(ROOT, b'42["missed",1]')
    jobs: list[Job[None]] = []
    heir.heirs.work = jobs.append
    heir.inherit(lost)
    (job,) = jobs
    monkeypatch.setattr(share, "STEP_SOCKETS", 2)
    pages = len(heir.pages)
    next(job)
    assert len(heir.pages) == pages + 1
    back, gone = clients[2], clients[3]
    back.stage = gone.stage = heir
    for client in (back, gone):
        client.save(b"{}")
    back.come_back()
    recovery = heir.world.hub().recovery
    assert recovery is not None
    recovery.dismiss(recovery.everyone()[3])
    finished(job)
    last = Keeper()
    last.inherit(heir)
    assert last.heirs.inherited == 4


def test_what_is_handed_over_after_the_second_loss_arrives(lost: Keeper, heir: Keeper) -> None:
    client, last = lost.client(), Keeper()
    lost.emit(ROOT, b'42["a",1]', 1)
    heir.inherit(lost, settle=False)
    heir.emit(ROOT, b'42["a",2]', 2)
    heir.heirs.hand_over("lost", HUB, emit(ROOT, b'42["a",2]', 2))
    heir.heirs.handed_over("lost", HUB, INSTANCE, 2)
    heir.emit(ROOT, b'42["a",3]', 3)
    client.stage = heir
    client.save(b"{}")
    last.emit(ROOT, b'42["a",2]', 2)
    last.emit(ROOT, b'42["a",3]', 3)
    last.emit(ROOT, b'42["a",4]', 4)
    last.inherit(heir, settle=False)
    last.emit(ROOT, b'42["a",5]', 5)
    last.heirs.hand_over("lost", HUB, emit(ROOT, b'42["a",4]', 4))
    last.heirs.hand_over("lost", HUB, emit(ROOT, b'42["a",5]', 5))
    last.heirs.handed_over("lost", HUB, INSTANCE, 5)
    last.emit(ROOT, b'42["a",6]', 6)
    client.stage = last
    client.save(b"{}")
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("had", [True, False])
@pytest.mark.parametrize("fails", ["before", "meanwhile", "until the last step", "after"])
def test_a_journal_that_fails_while_it_is_stored_once_more(
    lost: Keeper, heir: Keeper, fails: str, had: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not stored again when the journal is back. Clients that were away all the time get new sockets
    when the heir is lost, too, and never a part. Those that are back by then are resumed."""
    monkeypatch.setattr(share, "STEP_SOCKETS", 1)
    here, *away = clients = [lost.client() for _ in range(4)]
    if had:
        lost.emit(ROOT, b'42["had",0]')
    for client in clients:
        client.read()
    lost.emit(ROOT, b'42["missed",1]')
    jobs: list[Job[None]] = []
    heir.heirs.work = jobs.append
    last, journal = Keeper(), heir.world.keeping.journal

    def fail() -> None:
        heir.world.store.works = False
        heir.client()
        assert journal.down

    if fails == "before":
        fail()
    heir.inherit(lost)
    (job,) = jobs
    if fails == "before":
        finished(job)
    else:
        next(job)
        next(job)
    if fails == "after":
        finished(job)
    if fails != "before":
        fail()
    here.stage = heir
    here.save(b"{}")
    here.come_back()
    if fails == "meanwhile":
        finished(job)
    heir.world.store.works = True
    heir.tick(3.0)
    heir.world.settle()
    assert not journal.down
    if fails == "until the last step":
        finished(job)
    heir.emit(ROOT, b'42["at the heir",2]', 11)
    here.read()
    assert [event[2] for event in here.events] == [1, 2]
    here.lose()
    heir.emit(ROOT, b'42["at the heir",3]', 12)
    last.inherit(heir)
    for client in clients:
        client.stage = last
        client.save(b"{}")
        client.come_back(answer=client is here)
    assert [event[2] for event in here.events] == [3]
    assert len(last.returns.sockets) == 1
    assert sum(refused(last).values()) == len(away)
    assert refused(last).keys() <= {"unknown", "dropped"}
