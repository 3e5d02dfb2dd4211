"""Clients that were held back are read again a few at a time."""

from __future__ import annotations

from itertools import pairwise

from moorage.edge.resuming import READ_AT_ONCE, Resuming
from moorage.hub.hub import Client
from moorage.hub.turns import TURN_SECONDS
from tests.hub.fakes import World

MANY = 5 * READ_AT_ONCE


class Reading:
    """Clients that are to be read again, on a loop where a step takes a whole turn."""

    def __init__(self, count: int) -> None:
        self.world = World()
        self.world.server()
        self.read: list[Client] = []
        self.resuming = Resuming(self.world.node.turns, self._read)
        self.clients: list[Client] = [self.world.client() for _ in range(count)]

    def _read(self, client: Client) -> None:
        self.read.append(client)
        self.world.now += 1.01 * TURN_SECONDS / READ_AT_ONCE

    def turn(self) -> int:
        """The number of clients that are read in the next turn of the loop."""
        before = len(self.read)
        self.world.tick()
        return len(self.read) - before


def test_a_few_are_read_at_once() -> None:
    reading = Reading(READ_AT_ONCE)
    reading.resuming.add(reading.clients)
    assert reading.read == reading.clients
    assert reading.world.turns == 0


def test_many_are_read_in_several_turns() -> None:
    reading = Reading(MANY)
    reading.resuming.add(reading.clients)
    assert reading.read == []
    counts = [0]
    while reading.turn():
        counts.append(len(reading.read))
    assert set(reading.read) == set(reading.clients)
    assert len(reading.read) == MANY
    assert max(after - before for before, after in pairwise(counts)) <= READ_AT_ONCE


def test_those_who_are_held_back_meanwhile_are_not_read() -> None:
    reading = Reading(MANY)
    reading.resuming.add(reading.clients)
    reading.turn()
    again = next(client for client in reading.clients if client not in reading.read)
    reading.resuming.forget(again)
    reading.world.settle()
    assert again not in reading.read
    reading.resuming.add([again])
    assert reading.read[-1] is again


def test_a_few_do_not_overtake_many() -> None:
    """They would have their turn out of order, and the work of this turn would grow."""
    reading = Reading(MANY + 1)
    *many, last = reading.clients
    reading.resuming.add(many)
    reading.resuming.add([last])
    assert reading.read == []
    reading.world.settle()
    assert set(reading.read) == set(reading.clients)
