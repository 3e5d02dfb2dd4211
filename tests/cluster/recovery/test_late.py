"""What others had sent to a node that is lost."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.cluster.coverage.homes import Via
from moorage.cluster.recovery.late import APART
from moorage.wire.cluster.messages import Envelope, encode
from moorage.wire.commands import (
    JoinGroups,
    LeaveGroups,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.groups import room_group
from moorage.wire.recovery.late import Late, LateEnd, Wanted
from tests.cluster.recovery.keepers import LOST, Keepers
from tests.cluster.recovery.keepers import heir as heir_of_lost
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, room


@pytest.fixture
def keepers() -> Keepers:
    return Keepers()


async def test_emits_from_before_and_after_the_loss_was_noticed(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.emit(1, 1)
    client.read()
    keepers.die()
    keepers.emit(1, 2)
    keepers.emit(2, 3)
    await keepers.lose(1)
    keepers.emit(1, 4)
    keepers.emit(2, 5)
    await keepers.lose(2)
    keepers.emit(1, 6)
    found = keepers.numbers(client)
    assert [number for number in found if number % 2 == 0] == [2, 4, 6], "of the first node, in order"
    assert [number for number in found if number % 2] == [3, 5]


@pytest.mark.parametrize("first", [1, 2])
async def test_what_the_lost_node_had_carried_out_comes_once(keepers: Keepers, first: int) -> None:
    client = keepers.client(0)
    client.read()
    keepers.emit(1, 1)
    keepers.emit(2, 2)
    keepers.emit(1, 3)
    keepers.die()
    keepers.emit(first, 4)
    await keepers.lose(first, 3 - first)
    assert keepers.numbers(client, first) == [1, 2, 3, 4]


async def test_rooms_that_change_meanwhile(keepers: Keepers) -> None:
    client, other = keepers.client(0, "old"), keepers.client(1, "new", "old")
    keepers.die()
    sid = Selection(group=room_group("/", client.sid["/"]))
    keepers.submit(1, JoinGroups(HUB, sid, (room_group("/", "new"),)))
    keepers.emit(1, 1, room("new"))
    keepers.submit(1, LeaveGroups(HUB, sid, (room_group("/", "old"),)))
    keepers.emit(1, 2, room("old"))
    await keepers.lose(1, 2)
    keepers.emit(2, 3, room("new"))
    keepers.emit(2, 4, room("old"))
    assert keepers.numbers(client) == [1, 3]
    other.read()
    assert [event[2] for event in other.events] == [1, 2, 3, 4]


async def test_packets_for_one_client(keepers: Keepers) -> None:
    client = keepers.client(0)
    name = client.connection.id
    keepers.die()
    keepers.submit(1, SendToConnection(HUB, name, b'42["a",1]'))
    keepers.submit(1, SendToConnection(HUB, name, b'42["b",2,"' + b"x" * 70_000 + b'"]'))
    keepers.nodes.routers[1].remove(LOST)
    keepers.submit(1, SendToConnection(HUB, name, b'42["a",3]'))
    await keepers.lose(2)
    assert keepers.numbers(client) == [1, 2, 3]


async def test_a_client_that_was_told_to_go(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    keepers.submit(1, SendToConnection(HUB, client.connection.id, b"41"))
    await keepers.lose(1, 2)
    keepers.come_back(client, 2, answer=False)
    assert keepers.refused(2) == {"lost": 1}


async def test_commands_of_app_servers(keepers: Keepers) -> None:
    """One with a session at the lost node hands over itself what it had sent there. Of another one, its home
    does."""
    client = keepers.client(0)
    keepers.die()
    router = keepers.nodes.routers[1]
    emits = (
        (Via("default/covers", 1, ("node-000", "node-002")), "covers", 1),
        (Via("default/elsewhere", 1, None), "elsewhere", 2),
        (Via("default/far", 1, ("node-002",)), "far", 3),
    )
    for via, source, number in emits:
        via.number = number
        command = Send(HUB, ROOT, b'42["a",%d]' % number, source=source, number=number)
        keepers.nodes.worlds[1].node.submit(command, lambda about, outcome: None, reach=_reach(router, via))
    router.remove(LOST)
    for via, source, number in emits:
        via.number = number + 10
        command = Send(HUB, ROOT, b'42["a",%d]' % (number + 10), source=source, number=number + 10)
        keepers.nodes.worlds[1].node.submit(command, lambda about, outcome: None, reach=_reach(router, via))
    await keepers.lose(2)
    assert keepers.numbers(client) == [3, 13]


def _reach(router: Any, via: Via) -> Any:
    class Reach:
        def cast(self, command: Any, here: Any) -> None:
            router.cast(command, here, via)

    return Reach()


async def test_large_work_that_has_begun(keepers: Keepers) -> None:
    """An emit in steps is sent to other nodes when it is over, and the next ones before it."""
    client = keepers.client(0)
    for _ in range(3):
        keepers.client(1)
    node = keepers.nodes.worlds[1].node
    keepers.die()
    filters = tuple(room_group("/", f"r{number}") for number in range(2_000))
    large = Send(HUB, Selection(group=ROOT.group, excluded=filters), b'42["a",1]')
    job = node.submit(large, lambda about, outcome: None)
    keepers.emit(1, 2)
    await keepers.lose(1, 2)
    for _ in job or ():
        pass
    keepers.tick(0.5)
    keepers.settle()
    assert sorted(keepers.numbers(client)) == [1, 2]


async def test_too_much_has_been_sent(keepers: Keepers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.cluster.recovery.late.KEEP_BYTES", 10)
    client = keepers.client(0)
    keepers.die()
    keepers.nodes.routers[2].remove(LOST)
    keepers.emit(2, 1)
    await keepers.lose(1)
    keepers.come_back(client, 1, answer=False)
    assert keepers.refused(1) == {"lost": 1}


async def test_something_is_not_kept_any_more(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    keepers.emit(1, 1)
    keepers.tick(11.0)
    await keepers.lose(1, 2)
    keepers.come_back(client, 1, answer=False)
    assert keepers.refused(1) == {"lost": 1}


async def test_another_node_is_lost_before_it_has_answered(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    heir = heir_of_lost()
    keepers.emit(3 - heir, 1)
    await keepers.lose(heir)
    keepers.nodes.routers[heir].remove(f"node-00{3 - heir}")
    await keepers.read()
    keepers.come_back(client, heir, answer=False)
    assert keepers.refused(heir) == {"lost": 1}


async def test_two_nodes_are_lost_at_the_same_time(keepers: Keepers) -> None:
    client = keepers.client(0)
    for node in ("node-000", "node-001"):
        keepers.nodes.network.delay("node-002", node)
    keepers.late(2).heard(LOST)
    keepers.late(2).heard("node-001")
    keepers.nodes.routers[2].remove("node-001")
    await keepers.lose(2)
    keepers.come_back(client, 2, answer=False)
    assert keepers.refused(2) == {"lost": 1}


async def test_one_node_was_lost_earlier(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.late(2).heard("node-001")
    keepers.nodes.routers[0].remove("node-001")
    keepers.nodes.routers[2].remove("node-001")
    keepers.tick(10.0)
    keepers.late(2).heard(LOST)
    keepers.emit(2, 1)
    keepers.nodes.network.delay("node-002", LOST)
    keepers.emit(2, 2)
    await keepers.lose(2)
    assert keepers.numbers(client) == [1, 2]


@pytest.mark.parametrize("seconds", [10.0, 1.0])
async def test_the_heir_is_lost_later(keepers: Keepers, seconds: float) -> None:
    """A client that is away all the time is resumed, unless both nodes are lost at the same time."""
    first = heir_of_lost()
    last, name = 3 - first, f"node-00{first}"
    client = keepers.client(0)
    keepers.emit(1, 1)
    client.read()
    keepers.emit(1, 2)
    keepers.die()
    keepers.emit(2, 3)
    await keepers.lose(1, 2)
    keepers.save(client)
    keepers.emit(last, 4)
    keepers.tick(seconds)
    keepers.late(last).heard(name)
    keepers.emit(last, 5)
    keepers.nodes.network.delay(f"node-00{last}", name)
    keepers.emit(last, 6)
    keepers.nodes.routers[last].remove(name)
    await keepers.read()
    keepers.stages[last].world.node.keeping.heirs.handed_over(name, HUB, "", 0)  # type: ignore[union-attr]
    keepers.settle()
    keepers.come_back(client, last, answer=False)
    keepers.save(client)
    keepers.settle()
    if seconds < APART:
        assert keepers.refused(last) == {"lost": 1}
        return
    client.answer()
    keepers.settle()
    client.read()
    assert [event[2] for event in client.events] == [2, 3, 4, 5, 6]


async def test_a_node_that_does_not_answer(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    heir = heir_of_lost()
    keepers.nodes.network.delay(f"node-00{heir}", f"node-00{3 - heir}")
    await keepers.lose(heir)
    keepers.come_back(client, heir, answer=False)
    assert keepers.refused(heir) == {}
    keepers.tick(13.0)
    assert keepers.refused(heir) == {"unreached": 1}


async def test_a_node_that_knows_nothing_of_the_lost_one(keepers: Keepers) -> None:
    said: list[LateEnd] = []
    router = keepers.nodes.routers[2]
    router.handlers[LateEnd] = lambda envelope: said.append(envelope.body)  # type: ignore[arg-type]
    asked = Envelope("node-002", Wanted("stranger", 0, 0))
    keepers.late(1).take(asked)
    keepers.settle()
    keepers.client(0)
    keepers.emit(1, 1)
    keepers.late(1).take(asked)
    keepers.settle()
    assert [each.complete for each in said] == [True, False]


async def test_bad_messages_for_a_lost_node(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    heir = heir_of_lost()
    other = f"node-00{3 - heir}"
    network = keepers.nodes.network
    network.delay(other, f"node-00{heir}")
    await keepers.lose(heir)
    messages = (
        b"\xc1",
        encode(Envelope("somebody else", Send(HUB, ROOT, b'42["a",1]'))),
        encode(Envelope(other, Send("no such hub", ROOT, b'42["a",2]'))),
        encode(Envelope(other, LateEnd(LOST, complete=True))),
        encode(Envelope(other, SendToConnection(HUB, client.connection.id, b"\xff"))),
    )
    for message in messages:
        keepers.late(heir).take(Envelope(other, Late(LOST, message)))
    network.release(other, f"node-00{heir}")
    await keepers.lose(3 - heir)
    assert keepers.numbers(client) == []
    assert keepers.stages[heir].world.faults == []


async def test_what_is_written_of_other_nodes(keepers: Keepers) -> None:
    """In each page, at least each second, and again after a failure."""
    keepers.client(0)
    keepers.emit(1, 1)
    keepers.tick(1.5)
    keepers.settle()
    store = keepers.stores[LOST]
    written = len(store.pages)
    keepers.emit(1, 2, room("nobody is here"))
    keepers.tick(1.5)
    keepers.settle()
    assert len(store.pages) == written + 1
    keepers.tick(1.5)
    keepers.settle()
    assert len(store.pages) == written + 1, "nothing is new"
    store.works = False
    keepers.emit(1, 3)
    store.works = True
    keepers.tick(3.0)
    keepers.settle()
    assert len(store.pages) > written + 1


async def test_a_pid_of_a_stranger_costs_few_messages(keepers: Keepers) -> None:
    """A node that has journals asks for any genuine one, but not again and again; for others, none."""
    client = keepers.client(0)
    client.lose()
    client.pid["/"] = "node-009-x"
    before = len(keepers.sent)
    for _ in range(3):
        keepers.come_back(client, 1, answer=False)
    asked = keepers.sent[before:]
    assert asked.count(("node-001", "Asked")) == 2, "one for each other node"
    keepers.nodes.worlds[1].node.claims.is_genuine = lambda pid: False
    client.pid["/"] = "node-008-x"
    before = len(keepers.sent)
    keepers.come_back(client, 1, answer=False)
    assert keepers.sent[before:] == []
    assert keepers.refused(1) == {"unknown": 4}


async def test_what_a_lost_node_has_stored_cannot_be_read(keepers: Keepers) -> None:
    """Its clients get new sessions, and the heir knows why. Those of others go on."""
    clients, other = [keepers.client(0) for _ in range(2)], keepers.client(heir_of_lost())
    keepers.die()
    keepers.journals.works = False
    await keepers.lose(1, 2)
    for client, at in zip(clients, (heir_of_lost(), 3 - heir_of_lost()), strict=True):
        keepers.come_back(client, at, answer=False)
    assert keepers.refused(heir_of_lost()) == {"unstored": 1}
    assert keepers.refused(3 - heir_of_lost()) == {"lost": 1}
    keepers.emit(heir_of_lost(), 1)
    other.read()
    assert [event[2] for event in other.events] == [1]


async def test_the_heir_notices_the_loss_first(keepers: Keepers) -> None:
    client = keepers.client(0)
    keepers.die()
    heir = heir_of_lost()
    keepers.emit(3 - heir, 1)
    await keepers.lose(heir)
    keepers.emit(3 - heir, 2)
    await keepers.lose(3 - heir)
    keepers.emit(3 - heir, 3)
    assert keepers.numbers(client) == [1, 2, 3]


async def test_a_node_that_was_lost_and_is_back(keepers: Keepers) -> None:
    """What would have been sent to it is not kept for an heir any more, and neither when none asks."""
    late = keepers.late(1)
    keepers.die()
    for _ in range(2):
        keepers.nodes.routers[1].remove(LOST)
        keepers.nodes.routers[1].add(LOST, "back")
    packet = SendToConnection(HUB, f"{LOST}-x", b'42["a",1]')
    assert not late.keeps(packet)
    keepers.nodes.routers[1].remove(LOST)
    assert late.keeps(packet)
    keepers.tick(21.0)
    assert not late.keeps(packet)
