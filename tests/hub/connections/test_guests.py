"""Guests of a node: clients of other nodes whose app server is linked here."""

from __future__ import annotations

import pytest

from moorage.hub.hub import BURST, LINK, Client, Guest
from moorage.hub.ports import Who
from moorage.hub.turns import AT_ONCE
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import APP_CLOSED, APP_REFUSED, CLIENT_CLOSED, TRANSPORT_LOST, Reason
from tests.hub.fakes import World


class RecordingOwner:
    """`hub.ports.Owner` that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def accepted(self, guest: Client, info: OpenInfo) -> None:
        self.calls.append(("accepted", guest.id, info))

    def refused(self, guest: Client, reason: Reason, detail: str) -> None:
        self.calls.append(("refused", guest.id, reason, detail))

    def send(self, guest: Client, payload: bytes) -> None:
        self.calls.append(("send", guest.id, payload))

    def close(self, guest: Client, reason: Reason, *, who: Who, detail: str) -> None:
        self.calls.append(("close", guest.id, reason, who, detail))

    def read(self, guest: Client, *, on: bool) -> None:
        self.calls.append(("read", guest.id, on))


class House:
    """A node with an app server, and a guest."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.world = World()
        self.guests = self.world.node.guests
        self.server, self.link = self.world.server()
        if not accepts:
            self.link.on_open = lambda guest: None
        self.owner = RecordingOwner()
        self.guest = self.make()
        self.guests.welcome(self.guest, Handshake(query={}, headers={}))

    def make(self, connection_id: str = "n2-1", node: str = "n2") -> Guest:
        """A guest that is not welcome yet."""
        hub = self.world.node.ensure_hub("app")
        return Guest(connection_id, hub, user_id=None, server=self.server, node=node, owner=self.owner)


@pytest.fixture
def house() -> House:
    return House()


def test_a_guest_is_accepted(house: House) -> None:
    assert house.owner.calls == [("accepted", "n2-1", OpenInfo())]
    assert house.guests.get("n2-1") is house.guest
    assert (house.guests.of("n2"), house.guests.of("n3"), house.guests.all()) == (
        [house.guest],
        [],
        [house.guest],
    )
    assert (house.server.load, len(house.guests)) == (1, 1)
    # Neither a repeated offer nor a repeated answer counts.
    house.guests.welcome(house.make(), Handshake(query={}, headers={}))
    house.world.node.accept(house.guest, OpenInfo())
    assert (len(house.link.opened), len(house.owner.calls)) == (1, 1)


def test_a_guest_is_refused_once() -> None:
    house = House(accepts=False)
    for _ in range(2):
        house.world.node.refuse(house.guest, APP_REFUSED, "no")
    assert house.owner.calls == [("refused", "n2-1", APP_REFUSED, "no")]
    assert (len(house.guests), house.server.load) == (0, 0)


def test_a_guest_is_closed_once(house: House) -> None:
    for _ in range(2):
        house.world.node.disconnect(house.guest, APP_CLOSED, who="app", detail="why")
    assert house.owner.calls[1:] == [("close", "n2-1", APP_CLOSED, "app", "why")]
    assert house.link.ended == [("n2-1", APP_CLOSED)]


def test_a_guest_that_is_closed_while_it_waits_is_refused() -> None:
    house = House(accepts=False)
    house.world.node.disconnect(house.guest, APP_CLOSED, who="app")
    assert house.owner.calls == [("refused", "n2-1", APP_CLOSED, "")]
    assert house.link.ended == []


def test_the_app_server_is_told_once_that_a_guest_is_gone(house: House) -> None:
    for _ in range(2):
        house.guests.gone(house.guest, CLIENT_CLOSED)
    assert house.link.ended == [("n2-1", CLIENT_CLOSED)]


def test_a_guest_that_goes_while_it_waits_is_closed_when_it_is_accepted() -> None:
    house = House(accepts=False)
    house.guests.gone(house.guest, CLIENT_CLOSED)
    assert house.link.ended == []
    house.world.node.accept(house.guest, OpenInfo())
    assert (house.link.ended, house.owner.calls) == ([("n2-1", TRANSPORT_LOST)], [])


def test_many_guests_of_a_lost_node_go_in_steps(house: House) -> None:
    guests = [house.make(f"many-{number}") for number in range(2 * AT_ONCE)]
    stays = house.make("stays", "n3")
    for guest in (*guests, stays):
        house.guests.welcome(guest, Handshake(query={}, headers={}))
    house.guests.all_gone("n2", TRANSPORT_LOST)
    assert house.link.ended == []
    house.world.settle()
    assert house.link.ended == [(guest.id, TRANSPORT_LOST) for guest in (house.guest, *guests)]
    assert house.guests.all() == [stays]


def test_guests_of_a_lost_app_server_are_forgotten(house: House) -> None:
    house.world.node.drop_server(house.guest.hub, house.server)
    assert (len(house.guests), house.owner.calls[1:], house.link.ended) == (0, [], [])


def test_its_node_reads_a_guest_while_no_reason_is_left(house: House) -> None:
    house.guest.release(LINK)
    for why in (LINK, BURST):
        assert house.guest.hold(why)
    house.guest.release(LINK)
    house.guest.release(BURST)
    assert house.owner.calls[1:] == [("read", "n2-1", False), ("read", "n2-1", True)]


def test_the_few_guests_of_a_node_that_is_gone_end_at_once(house: House) -> None:
    other = house.make("n3-1", "n3")
    house.guests.welcome(other, Handshake(query={}, headers={}))
    assert house.world.node.everyone() == [house.guest, other]
    house.guests.all_gone("n2", TRANSPORT_LOST)
    assert house.guests.all() == [other]
