"""Clients by their numbers on a link."""

from __future__ import annotations

from moorage.edge.moorage.numbered import Numbered
from moorage.hub.hub import Client
from tests.hub.connections.test_guests import House


def test_own_clients_and_guests() -> None:
    house = House()
    own = house.world.client()
    numbered = Numbered()
    clients: list[Client] = [own, house.guest]
    for number, client in enumerate(clients, 1):
        numbered.add(number, client)
    assert [numbered.get(number) for number in (1, 2, 3)] == [own, house.guest, None]
    assert (numbered.own, numbered.guests) == ({1: own}, {2: house.guest})
    assert [numbered.pop(number) for number in (1, 2, 3)] == [own, house.guest, None]
    assert (numbered.own, numbered.guests) == ({}, {})


def test_a_released_client_is_known_as_late_while_it_lives() -> None:
    house = House()
    numbered = Numbered()
    own = house.world.client()
    numbered.add(1, own)
    assert (numbered.release(1), numbered.release(1)) == (own, None)
    assert (numbered.get(1), numbered.late.get(1)) == (None, own)
