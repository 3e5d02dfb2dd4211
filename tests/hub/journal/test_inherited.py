"""A socket of a lost node that goes on to a third one before its client has come."""

from __future__ import annotations

from moorage.hub.recovery.moves import Expected, Gifts, Given
from moorage.wire.recovery.moving import Asked, Denied, Offered, Take, Taken
from tests.hub.fakes import HUB
from tests.hub.journal.loss import Keeper
from tests.hub.recovery.stage import ROOT


def test_it_takes_along_what_its_client_may_lack() -> None:
    lost, heir, third = Keeper(), Keeper(), Keeper()
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    client.read()
    lost.emit(ROOT, b'42["a",2]')
    heir.inherit(lost)
    client.stage = heir
    client.save(b"")
    node = heir.world.node
    gifts = Gifts(node.hubs, node.clock, node.claims.give)
    answers: list[Offered | Denied] = []
    gifts.ask("third", Asked(1, HUB, client.pid["/"], whole=True), answers.append)
    (offered,) = answers
    assert isinstance(offered, Offered)
    recovery = third.world.hub().recovery
    assert recovery is not None
    expected = Expected(recovery, offered)
    given = gifts.take("third", Take(1, HUB, client.pid["/"], offered.groups, {}), {})
    assert isinstance(given, Given)
    taken = Taken(1, given.groups, given.left, given.segments, given.whole, {}, given.seen)
    expected.take(taken, {})
    client.stage = third
    client.come_back()
    assert [event[2] for event in client.events] == [2]
