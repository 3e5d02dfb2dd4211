"""A socket of a lost node that goes on to a third one before its client has come."""

from __future__ import annotations

import pytest

from moorage.hub.recovery.moves import LENT_SECONDS, Expected, Gifts, Given
from moorage.wire.commands import EVERYONE, CloseConnections
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


class Lending:
    """A socket of `owner` that a third node has taken and not stored."""

    def __init__(self) -> None:
        self.owner, self.third = Keeper(), Keeper()
        self.client = self.owner.client()
        self.client.lose(save=b"{}")
        self.pid = self.client.pid["/"]
        node = self.owner.world.node
        self.gifts = Gifts(node.hubs, node.clock, node.claims.give)
        self.gifts.lends = True
        answers: list[Offered | Denied] = []
        self.gifts.ask("third", Asked(1, HUB, self.pid, whole=True), answers.append)
        (offered,) = answers
        assert isinstance(offered, Offered)
        self.given = self.gifts.take("third", Take(1, HUB, self.pid, offered.groups, {}), {})
        assert isinstance(self.given, Given)

    @property
    def is_here(self) -> bool:
        """True if a client can come back to it at its former node."""
        recovery = self.owner.world.hub().recovery
        return recovery is not None and recovery.find(self.pid) is not None

    @property
    def is_recorded(self) -> bool:
        recovery = self.owner.world.hub().recovery
        return recovery is not None and self.pid in recovery.away.connections


def test_a_socket_that_another_node_has_taken_but_not_stored() -> None:
    lending = Lending()
    assert (lending.is_here, lending.is_recorded) == (False, True)
    lending.gifts.gone("another")
    lending.gifts.kept(HUB, "unknown")
    assert (lending.is_here, lending.is_recorded) == (False, True)
    lending.owner.emit(ROOT, b'42["a",1]')
    lending.gifts.gone("third")
    assert lending.is_here
    lending.client.come_back()
    assert [event[2] for event in lending.client.events] == [1]


def test_a_socket_that_another_node_has_stored() -> None:
    lending = Lending()
    lending.gifts.kept(HUB, lending.pid)
    lending.gifts.gone("third")
    assert (lending.is_here, lending.is_recorded) == (False, False)
    pages = Keeper()
    pages.inherit(lending.owner)
    assert pages.heirs.inherited == 0


def test_another_node_never_says_that_it_has_stored_a_socket() -> None:
    lending = Lending()
    lending.gifts.tick(lending.owner.world.now)
    assert (lending.is_here, lending.is_recorded) == (False, True)
    lending.owner.world.now += LENT_SECONDS + 1
    lending.gifts.tick(lending.owner.world.now)
    assert (lending.is_here, lending.is_recorded) == (False, False)


def test_a_socket_that_was_lent_ends() -> None:
    lending = Lending()
    lending.owner.world.execute(CloseConnections(HUB, EVERYONE))
    lending.gifts.gone("third")
    assert (lending.is_here, lending.is_recorded) == (False, False)


@pytest.mark.parametrize("end", ["kept", "gone"])
def test_a_hub_that_has_no_recovery_any_more(end: str) -> None:
    lending = Lending()
    lending.owner.world.hub().recovery = None
    lending.gifts.kept(HUB, lending.pid) if end == "kept" else lending.gifts.gone("third")
    assert not lending.is_here
