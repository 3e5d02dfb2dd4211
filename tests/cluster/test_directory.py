"""The directory: who has which groups, when a join is visible, and how peers learn of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moorage.cluster.directory import HASH_BYTES, SNAPSHOT_GROUPS, SWEEP_GROUPS, Directory, hash_of
from moorage.wire.cluster.messages import Acknowledged, Delta, Snapshot, WantGroups

HUB = "hub"


class World:
    """Some nodes whose messages move on demand, each pair's in order."""

    def __init__(self, count: int) -> None:
        self.names = [f"n{at}" for at in range(count)]
        self.queues: dict[tuple[str, str], list[Any]] = {}
        self.due: list[Callable[[], object]] = []
        self.all: dict[str, Directory] = {}
        self.sent: list[tuple[str, str, Any]] = []
        self.now = 1_000.0
        for name in self.names:
            self.all[name] = Directory(
                lambda to, body, name=name: self._tell(name, to, body),  # type: ignore[misc]
                lambda name=name: self.due.append(self.all[name].flush),  # type: ignore[misc]
            )

    def join(self) -> World:
        """All nodes learn of each other."""
        for name in self.names:
            for other in self.names:
                if other != name:
                    self.all[name].add(other)
        self.settle()
        self.sent.clear()
        return self

    def _tell(self, name: str, to: str | None, body: Any) -> None:
        for other in [to] if to is not None else [each for each in self.names if each != name]:
            self.queues.setdefault((name, other), []).append(body)
            self.sent.append((name, other, body))

    def step(self, pair: tuple[str, str]) -> bool:
        """One message of a pair arrives."""
        queue = self.queues.get(pair)
        if not queue:
            return False
        origin, to = pair
        body, directory = queue.pop(0), self.all[to]
        if isinstance(body, Delta):
            directory.delta(origin, body)
        elif isinstance(body, Snapshot):
            directory.snapshot(origin, body)
        elif isinstance(body, WantGroups):
            directory.wanted(origin)
        else:
            directory.acknowledged(origin, body.number)
        return True

    def tick(self) -> None:
        while self.due:
            self.due.pop(0)()

    def settle(self) -> None:
        self.tick()
        while any([self.step(pair) for pair in list(self.queues)]):
            self.tick()

    def later(self, name: str, seconds: float) -> None:
        """Time passes at one node, a tick at a time."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.all[name].tick(self.now)

    def seen(self, name: str, group: str) -> set[str] | None:
        return self.all[name].nodes_with(HUB, [group])


def visible(directory: Directory, *groups: str) -> list[str]:
    """Becomes ["visible"] when a join is."""
    told: list[str] = []
    directory.when_visible(HUB, groups, lambda: told.append("visible"))
    return told


def test_a_command_goes_to_the_nodes_with_members() -> None:
    world = World(3).join()
    world.all["n1"].first(HUB, "g")
    world.settle()
    assert [world.seen(name, "g") for name in world.names] == [{"n1"}, set(), {"n1"}]
    world.all["n2"].first(HUB, "g")
    world.all["n1"].last(HUB, "g")
    world.settle()
    assert [world.seen(name, "g") for name in world.names] == [{"n2"}, {"n2"}, set()]


def test_a_group_that_nobody_has_may_be_a_private_room() -> None:
    world = World(2).join()
    assert world.seen("n0", "g") is None
    assert world.all["n0"].nodes_with(HUB, ["g", "h"]) is None


def test_hubs_are_apart_and_compare_without_case() -> None:
    world = World(2).join()
    world.all["n1"].first("Chat", "g")
    world.settle()
    assert world.all["n0"].nodes_with("chat", ["g"]) == {"n1"}
    assert world.all["n0"].nodes_with("other", ["g"]) is None


def test_several_groups_go_to_the_nodes_of_each() -> None:
    world = World(4).join()
    world.all["n1"].first(HUB, "g")
    world.all["n2"].first(HUB, "h")
    world.settle()
    assert world.all["n0"].nodes_with(HUB, ["g", "h"]) == {"n1", "n2"}


def test_a_join_is_visible_when_all_peers_have_acknowledged_it() -> None:
    world = World(3).join()
    world.all["n0"].first(HUB, "g")
    told = visible(world.all["n0"], "g", "known to nobody")
    world.tick()
    assert told == []
    for pair in (("n0", "n1"), ("n1", "n0"), ("n0", "n2")):
        world.step(pair)
        assert told == []
    world.step(("n2", "n0"))
    assert told == ["visible"]
    assert visible(world.all["n0"], "g") == ["visible"], "at once from now on"


def test_every_join_of_the_group_waits_while_its_delta_is_pending() -> None:
    world = World(2).join()
    world.all["n0"].first(HUB, "g")
    world.tick()
    told = visible(world.all["n0"], "g")
    assert told == []
    world.settle()
    assert told == ["visible"]


def test_a_call_that_fails_does_not_keep_the_others_waiting() -> None:
    world = World(2).join()
    directory = world.all["n0"]
    directory.first(HUB, "g")

    def fails() -> None:
        raise RuntimeError("broken")

    first = visible(directory, "g")
    directory.when_visible(HUB, ["g"], fails)
    last = visible(directory, "g")
    with pytest.raises(RuntimeError):
        world.settle()
    assert (first, last) == (["visible"], [])
    world.later("n0", 0.25)
    assert last == ["visible"]


def test_a_call_may_end_a_node() -> None:
    world = World(3).join()
    directory = world.all["n0"]
    directory.first(HUB, "g")
    directory.when_visible(HUB, ["g"], lambda: directory.remove("n2"))
    last = visible(directory, "g")
    world.settle()
    assert last == ["visible"]


def test_a_join_does_not_wait_for_a_node_that_is_gone() -> None:
    world = World(3).join()
    world.all["n0"].first(HUB, "g")
    told = visible(world.all["n0"], "g")
    world.tick()
    world.step(("n0", "n1"))
    world.step(("n1", "n0"))
    world.all["n0"].remove("n2")
    assert told == ["visible"]


def test_a_node_alone_waits_for_nobody() -> None:
    world = World(1)
    world.all["n0"].first(HUB, "g")
    told = visible(world.all["n0"], "g")
    world.tick()
    assert told == ["visible"]


def test_changes_of_one_tick_travel_together() -> None:
    world = World(2).join()
    for group in "abc":
        world.all["n0"].first(HUB, group)
    world.all["n0"].last(HUB, "a")
    world.settle()
    deltas = [body for _, _, body in world.sent if isinstance(body, Delta)]
    assert [(len(d.added) // HASH_BYTES, len(d.removed) // HASH_BYTES) for d in deltas] == [(3, 1)]
    assert world.seen("n1", "a") is None
    assert world.seen("n1", "b") == {"n0"}


def test_a_group_that_comes_back_in_the_same_tick_was_never_gone() -> None:
    world = World(2).join()
    world.all["n0"].first(HUB, "g")
    world.settle()
    world.sent.clear()
    world.all["n0"].last(HUB, "g")
    world.all["n0"].first(HUB, "g")
    world.settle()
    assert world.sent == []
    assert world.seen("n1", "g") == {"n0"}


def test_a_private_room_that_ends_is_no_news() -> None:
    world = World(2).join()
    world.all["n0"].last(HUB, "never announced")
    world.settle()
    assert world.sent == []


def test_a_new_node_gets_everything_and_every_command_until_then() -> None:
    world = World(2)
    world.all["n0"].first(HUB, "g")
    world.all["n0"].first(HUB, "h")
    world.tick()
    world.all["n1"].add("n0")
    assert world.seen("n1", "h") is None
    world.all["n1"].first(HUB, "x")
    assert world.seen("n1", "x") == {"n0"}, "its groups are not known"
    world.all["n0"].add("n1")
    world.settle()
    assert world.seen("n1", "g") == {"n0"}
    assert world.seen("n1", "x") == set()


def test_a_request_that_came_too_early_is_made_again() -> None:
    world = World(2)
    world.all["n0"].first(HUB, "g")
    world.all["n1"].first(HUB, "x")
    world.all["n1"].add("n0")
    world.settle()
    world.all["n0"].add("n1")
    world.settle()
    assert world.seen("n1", "x") == {"n0"}
    world.all["n1"].tick(10.0)
    world.settle()
    assert world.seen("n1", "x") == set()


def test_a_lost_delta_is_made_good_by_a_snapshot() -> None:
    world = World(2).join()
    world.all["n0"].first(HUB, "g")
    world.tick()
    world.queues[("n0", "n1")].clear()
    world.all["n0"].first(HUB, "h")
    world.settle()
    world.all["n1"].first(HUB, "x")
    assert world.seen("n1", "x") == {"n0"}, "it misses something, so everything goes to that node"
    world.all["n1"].tick(10.0)
    world.settle()
    assert world.seen("n1", "x") == set()
    assert world.seen("n1", "g") == {"n0"}


def test_a_snapshot_that_is_under_way_is_not_asked_for_again() -> None:
    world = World(2).join()
    for number in range(2 * SNAPSHOT_GROUPS + 1):
        world.all["n0"].first(HUB, f"g{number}")
    world.settle()
    world.all["n1"].gap("n0")
    world.all["n1"].tick(10.0)
    world.step(("n1", "n0"))
    world.sent.clear()
    for now in (20.0, 30.0, 40.0):
        # The acknowledgement comes before the three parts.
        while isinstance(world.queues["n0", "n1"][0], Acknowledged):
            world.step(("n0", "n1"))
        world.step(("n0", "n1"))
        world.all["n1"].tick(now)
    assert not [body for _, _, body in world.sent if isinstance(body, WantGroups)]
    world.all["n1"].gap("n0")
    for now in (50.0, 60.0):
        world.all["n1"].tick(now)
    assert [body for _, _, body in world.sent if isinstance(body, WantGroups)] == [WantGroups()] * 2


def test_a_gap_that_is_reported_makes_the_node_ask_again() -> None:
    world = World(2).join()
    world.all["n1"].first(HUB, "x")
    world.all["n1"].gap("n0")
    world.all["n1"].gap("nobody")
    assert world.seen("n1", "x") == {"n0"}
    world.all["n1"].tick(10.0)
    world.settle()
    assert world.seen("n1", "x") == set()


def test_a_large_snapshot_comes_in_parts() -> None:
    world = World(2)
    count = 2 * SNAPSHOT_GROUPS + 1
    for number in range(count):
        world.all["n0"].first(HUB, f"g{number}")
    world.join()
    assert len(world.all["n1"]) == count
    assert world.seen("n1", f"g{count - 1}") == {"n0"}


def test_a_node_that_is_gone_has_no_groups() -> None:
    world = World(3).join()
    world.all["n1"].first(HUB, "g")
    world.all["n2"].first(HUB, "g")
    world.settle()
    world.all["n0"].remove("n1")
    assert world.seen("n0", "g") == {"n2"}
    assert len(world.all["n0"]) == 1
    world.all["n0"].remove("n2")
    assert len(world.all["n0"]) == 0


def test_a_node_that_is_gone_leaves_a_large_table_in_steps() -> None:
    world = World(3)
    for number in range(2 * SWEEP_GROUPS):
        world.all["n1"].first(HUB, f"g{number}")
    world.all["n2"].first(HUB, "g0")
    world.join()
    names = [f"g{number}" for number in range(2 * SWEEP_GROUPS)]
    left = world.all["n0"]
    left.remove("n1")
    assert SWEEP_GROUPS <= len(left) < 2 * SWEEP_GROUPS, "a part, so that the loop goes on"
    assert world.seen("n0", "g0") == {"n2"}
    assert all(left.nodes_with(HUB, [name]) is None for name in names[1::1000]), "none counts any more"

    left.add("n3")
    left.snapshot("n3", Snapshot(0, True, True, hash_of(HUB, "g1")))
    assert world.seen("n0", "g1") == {"n3"}
    assert world.seen("n0", "g2") is None, "a new node does not get the groups of the old one"
    for _ in range(5):
        left.tick(0.0)
    assert len(left) == 2
    assert world.seen("n0", "g0") == {"n2"}
    assert world.seen("n0", "g1") == {"n3"}


def test_groups_that_come_again_in_parts_are_unknown_meanwhile() -> None:
    world = World(2).join()
    world.all["n1"].first(HUB, "g")
    world.settle()
    world.all["n0"].snapshot("n1", Snapshot(1, True, False, hash_of(HUB, "h")))
    assert world.seen("n0", "g") is None, "so it goes to all nodes"
    assert world.all["n0"].nodes_with(HUB, ["h"]) == {"n1"}
    world.all["n0"].snapshot("n1", Snapshot(1, False, True, hash_of(HUB, "g")))
    assert world.seen("n0", "g") == {"n1"}


def test_groups_that_nodes_are_about_to_have_count_until_they_answer() -> None:
    world = World(3).join()
    one = world.all["n0"].expect(HUB, ["g"], ["n1"])
    two = world.all["n0"].expect(HUB, ["g"], ["n1", "n2"])
    assert world.seen("n0", "g") == {"n1", "n2"}
    two()
    assert world.seen("n0", "g") == {"n1"}
    one()
    assert world.seen("n0", "g") is None


def test_messages_of_strangers_have_no_effect() -> None:
    world = World(2).join()
    directory, key = world.all["n0"], hash_of(HUB, "g")
    directory.delta("x", Delta(1, key, b""))
    directory.snapshot("x", Snapshot(1, True, True, key))
    directory.acknowledged("x", 1)
    directory.wanted("x")
    assert world.seen("n0", "g") is None
    assert not any(world.queues.values())


@pytest.mark.parametrize("number", [0, 2**40])
def test_a_number_that_was_never_sent_acknowledges_nothing(number: int) -> None:
    world = World(2).join()
    world.all["n0"].first(HUB, "g")
    told = visible(world.all["n0"], "g")
    world.tick()
    world.all["n0"].acknowledged("n1", number)
    assert told == []


def test_a_repeated_delta_changes_nothing() -> None:
    world = World(2).join()
    world.all["n0"].first(HUB, "g")
    world.settle()
    world.all["n0"].last(HUB, "g")
    world.settle()
    (first, *_) = [body for _, _, body in world.sent if isinstance(body, Delta)]
    world.all["n1"].delta("n0", first)
    assert world.seen("n1", "g") is None
