"""A turn of the event loop in which very many clients are read writes in between."""

from __future__ import annotations

import pytest

from moorage.hub.flushes import Flushes
from tests.hub.fakes import World, heard, sink_of

pytestmark = pytest.mark.repair(9)


class Turn:
    """What is due at the end of this turn, and what was flushed so far."""

    def __init__(self) -> None:
        self.due: list[object] = []
        self.done: list[str] = []
        self.faults: list[str] = []
        self.flushes = Flushes(self.due.append, lambda: self.done.append("clients"), self._guard)

    def _guard(self, part: str, call: object) -> None:
        assert callable(call)
        try:
            call()
        except ValueError:
            self.faults.append(part)

    def add(self, name: str) -> None:
        self.flushes.add(lambda: self.done.append(name))

    def end(self) -> None:
        due, self.due[:] = list(self.due), []
        for call in due:
            assert callable(call)
            call()


def test_links_are_flushed_at_the_end_of_the_turn() -> None:
    turn = Turn()
    turn.add("a")
    turn.add("b")
    assert (len(turn.due), turn.done) == (1, [])
    turn.end()
    turn.end()
    assert turn.done == ["a", "b"]


def test_in_the_middle_of_a_turn_clients_and_links_are_flushed_once() -> None:
    turn = Turn()
    turn.add("a")
    turn.flushes.now()
    assert turn.done == ["clients", "a"]
    turn.add("b")
    turn.end()
    assert turn.done == ["clients", "a", "b"]


def test_a_link_that_queues_while_it_is_flushed_has_another_turn() -> None:
    turn = Turn()
    turn.flushes.add(lambda: turn.add("later"))
    turn.end()
    assert turn.done == []
    turn.end()
    assert turn.done == ["later"]


def test_a_link_that_fails_harms_no_other() -> None:
    turn = Turn()

    def fail() -> None:
        raise ValueError

    turn.flushes.add(fail)
    turn.add("b")
    turn.end()
    assert (turn.done, turn.faults) == (["b"], ["links"])


def test_clients_with_small_sends_are_written_to_in_the_middle_of_a_turn() -> None:
    world = World()
    world.server()
    client = world.client("/")
    sink_of(client).writes.clear()
    world.node.flushes.now()
    world.send(client, b"42[1]")
    assert heard(client) == []
    world.node.flushes.now()
    assert heard(client) == [b"42[1]"]
