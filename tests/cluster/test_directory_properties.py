"""Whatever moves and is lost between nodes, what a join has made visible is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.cluster.messages import Acknowledged
from tests.cluster.test_directory import HUB, World, visible

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "move", "move", "tick", "lose"]),
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


@given(STEPS)
def test_what_is_visible_is_found_whatever_moves_and_is_lost(steps: list[tuple[str, int, int, str]]) -> None:
    world = World(3).join()
    has: dict[str, set[str]] = {name: set() for name in world.names}
    seen: list[tuple[str, str, list[str]]] = []
    now = 0.0

    def check() -> None:
        for name, group, told in seen:
            for other in world.names:
                if told and other != name and group in has[name]:
                    found = world.seen(other, group)
                    assert found is None or name in found

    for what, one, two, group in steps:
        name, other = world.names[one], world.names[two]
        if what == "join" and group not in has[name]:
            has[name].add(group)
            world.all[name].first(HUB, group)
            seen.append((name, group, visible(world.all[name], group)))
        elif what == "leave" and group in has[name]:
            has[name].discard(group)
            world.all[name].last(HUB, group)
            seen = [each for each in seen if each[:2] != (name, group)]
        elif what == "move":
            world.step((name, other))
        elif what == "lose" and world.queues.get((name, other)):
            # The stream below reports what it has lost when the next message comes.
            lost = world.queues[(name, other)].pop(0)
            if not isinstance(lost, Acknowledged):
                world.all[other].gap(name)
        else:
            world.tick()
        check()
    for _ in range(3):
        now += 10
        for directory in world.all.values():
            directory.tick(now)
        world.settle()
        check()
    for name in world.names:
        for group in "abc":
            holders = {each for each in world.names if each != name and group in has[each]}
            found = world.seen(name, group)
            assert found == holders or (found is None and not holders)
