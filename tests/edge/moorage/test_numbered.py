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
