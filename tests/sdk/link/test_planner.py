from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.sdk.link.planner import Aim, NodeView, Order, Planner, aim_of, inward, outward, slot_of
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow

TO = v1.To("/")


def row(name: str, *, cover: bool = True) -> NodeRow:
    return NodeRow(name, f"node {name}", f"http://{name}", "", cover)


def rows(names: str, version: int = 1) -> v1.Nodes:
    """A list of nodes; those in capitals need not be covered."""
    return v1.Nodes(version, tuple(row(name, cover=name.islower()) for name in names))


def covering(planner: Planner, names: str) -> list[NodeView]:
    """A session at each of these nodes, the first one at home."""
    first = planner.add()
    planner.greeted(first, names[0], new=True)
    planner.listed(first, rows(names))
    for wanted in planner.steps().dial:
        planner.greeted(planner.add(wanted), wanted.id, new=True)
    return list(planner.views.values())


def test_with_one_node_nothing_is_said() -> None:
    planner = Planner()
    first = planner.add()
    assert planner.greeted(first, "a", new=True) == []
    planner.listed(first, rows("aB"))
    assert planner.steps() == ([], [], [])
    assert planner.covered
    assert planner.lost(first) == []


def test_a_new_session_is_told_first_and_all_others_at_the_same_moment() -> None:
    planner = Planner()
    first = planner.add()
    planner.greeted(first, "a", new=True)
    planner.listed(first, rows("ab"))
    assert planner.steps().dial == [row("b")]
    second = planner.add(row("b"))
    assert planner.steps().dial == [], "it is being dialled"
    before = planner.covered
    assert planner.greeted(second, "b", new=True) == [
        Order(first, v1.Cover(1, True, False, ("a", "b"))),
        Order(second, v1.Cover(1, False, True, ("a", "b"))),
    ]
    assert (before, planner.covered) == (False, True)
    planner.down(second)
    assert planner.greeted(second, "b", new=False) == [], "a resumed session knows it all"


def test_a_session_that_follows_when_all_are_lost_is_told_without_a_fence() -> None:
    planner = Planner()
    one, two = covering(planner, "ab")
    planner.lost(two)
    assert planner.lost(one) == []
    assert planner.greeted(one, "b", new=True) == [Order(one, v1.Cover(3, True, False, ("b",)))]


def test_the_first_session_is_told_nothing_and_one_that_takes_its_place_is() -> None:
    """What the first one's node has forwarded may still be on its way to the other node."""
    planner = Planner()
    only = planner.add()
    planner.greeted(only, "a", new=True)
    planner.listed(only, rows("aB"))
    planner.lost(only)
    assert planner.greeted(only, "b", new=True) == [Order(only, v1.Cover(1, True, False, ("b",)))]


def test_a_service_without_a_cluster_is_never_told() -> None:
    planner = Planner()
    only = planner.add()
    planner.greeted(only, "a", new=True)
    planner.lost(only)
    assert planner.greeted(only, "a", new=True) == []


def test_the_loss_of_a_session_is_told_to_the_others() -> None:
    planner = Planner()
    one, two, three = covering(planner, "abc")
    assert planner.lost(two) == [
        Order(one, v1.Cover(3, True, False, ("a", "c"))),
        Order(three, v1.Cover(3, False, False, ("a", "c"))),
    ]
    assert planner.lost(two) == []


def test_when_the_home_is_lost_another_session_becomes_it() -> None:
    planner = Planner()
    one, two, three = covering(planner, "abc")
    planner.down(two)
    assert planner.lost(one) == [
        Order(two, v1.Cover(3, False, False, ("b", "c"))),
        Order(three, v1.Cover(3, True, False, ("b", "c"))),
    ], "one whose link is up"
    assert planner.home is three
    assert planner.lost(three) == [Order(two, v1.Cover(4, True, False, ("b",)))]
    assert planner.lost(two) == []
    assert planner.home is None


def test_a_node_is_given_up_if_its_link_is_down_and_no_other_lists_it() -> None:
    planner = Planner()
    one, two, _ = covering(planner, "abc")
    planner.listed(one, rows("ac", 2))
    assert planner.steps().drop == [], "its own link is up"
    planner.down(two)
    assert planner.steps().drop == planner.steps().gone == [two]
    planner.listed(one, rows("abc", 1))
    assert planner.steps().drop == [two], "an old list"
    planner.listed(one, rows("abc", 3))
    assert planner.steps().drop == []


def test_without_any_link_no_node_is_given_up() -> None:
    planner = Planner()
    one, two = covering(planner, "ab")
    planner.listed(two, rows("b", 1))
    planner.down(one)
    planner.down(two)
    assert planner.steps() == ([], [], [])


def test_the_home_decides_who_is_covered() -> None:
    planner = Planner()
    one, two, three = covering(planner, "abc")
    planner.listed(two, rows("abCd", 1))
    assert planner.steps() == ([], [], [])
    planner.listed(one, v1.Nodes(2, (row("a"), row("b"), row("c", cover=False), row("d"))))
    assert planner.steps() == ([row("d")], [three], [])


def test_frames_go_where_they_belong() -> None:
    everywhere = (
        v1.Emit(0, TO, 0, b""),
        v1.Ask(1, TO, 0, 1, b""),
        v1.Join(0, TO, ()),
        v1.Leave(0, TO, ()),
        v1.Disconnect(0, TO, False),
        v1.Fetch(1, TO, 1),
        v1.Drain(1),
    )
    assert {aim_of(frame) for frame in everywhere} == {Aim.ALL}
    assert {aim_of(v1.Tell(0, "/", 0, b"")), aim_of(v1.List(1))} == {Aim.HOME}
    of_client = (v1.Packet(1, b""), v1.Close(1), v1.Opened(1, 1, 1, 1), v1.Refused(1, 400, ""))
    rooms = (v1.Enter(1, 1, "/", ()), v1.Exit(1, 1, "/", ()))
    assert {aim_of(frame) for frame in (*of_client, *rooms)} == {Aim.CLIENT}
    assert {aim_of(v1.Reply(1, b"")), aim_of(v1.Facts(1, ()))} == {Aim.ASKED}


def test_numbers_of_sessions_differ_and_come_back() -> None:
    frames: list[v1.FromService] = [
        v1.Packet(9, b""),
        v1.Closed(9, 0, "", ""),
        v1.Query(9, "/", ()),
        v1.Told(0, "x", "/", b""),
        v1.Done(9, 0),
    ]
    inward(frames, 3)
    packet, _, query, told, done = frames
    assert isinstance(packet, v1.Packet)
    assert isinstance(query, v1.Query)
    assert slot_of(packet.client) == slot_of(query.ref) == 3
    assert (told, done) == (v1.Told(0, "x", "/", b""), v1.Done(9, 0)), "no answer is wanted; our own number"
    answer = v1.Facts(query.ref, ())
    assert (outward(packet, Aim.CLIENT), packet.client) == (3, 9)
    assert (outward(answer, Aim.ASKED), answer.ref) == (3, 9)


class Life(RuleBasedStateMachine):
    """Nodes come and go, links break and come back. What the service's nodes have been told is true and
    complete at any time."""

    names = st.sampled_from("abcdef")

    def __init__(self) -> None:
        super().__init__()
        self.planner = Planner()
        self.first = self.planner.add()
        self.told: dict[int, v1.Cover | None] = {}
        self.term = 0
        self.take(self.first, self.planner.greeted(self.first, "a", new=True))

    def take(self, new: NodeView | None, orders: list[Order]) -> None:
        """The nodes get their frames."""
        if new is not None:
            self.told[new.slot] = None
        for view, frame in orders:
            assert frame.fence == (view is new and len(self.planner.alive) > 1)
            self.told[view.slot] = frame
        if orders:
            (term,) = {frame.term for _, frame in orders}
            assert term > self.term
            assert {view.slot for view, _ in orders} == {view.slot for view in self.planner.alive}
            self.term = term

    @rule(who=st.integers(0, 9), names=st.sets(names, min_size=1))
    def listed(self, who: int, names: set[str]) -> None:
        up = [view for view in self.planner.views.values() if view.up]
        if up:
            view = up[who % len(up)]
            listed = "".join(sorted({*names, view.node}))
            self.planner.listed(view, rows(listed, view.version + 1))

    @rule()
    def settled(self) -> None:
        for view in self.planner.steps().drop:
            self.planner.remove(view)
            self.lose(view)
        for wanted in self.planner.steps().dial:
            self.planner.add(wanted)
        nodes = [view.node for view in self.planner.views.values()]
        assert len(set(nodes)) == len(nodes), "one session per node"

    def lose(self, view: NodeView) -> None:
        orders = self.planner.lost(view)
        self.told.pop(view.slot, None)
        self.take(None, orders)

    @rule(who=st.integers(0, 9), new=st.booleans())
    def greeted(self, who: int, new: bool) -> None:
        down = [view for view in self.planner.views.values() if not view.up]
        if not down:
            return
        view = down[who % len(down)]
        if view.alive and new:
            self.lose(view)
        fresh = not view.alive
        self.take(view if fresh else None, self.planner.greeted(view, view.node, new=fresh))

    @precondition(lambda self: self.planner.up)
    @rule(who=st.integers(0, 9), forgotten=st.booleans())
    def broke(self, who: int, forgotten: bool) -> None:
        up = [view for view in self.planner.views.values() if view.up]
        view = up[who % len(up)]
        self.planner.down(view)
        if forgotten:
            self.lose(view)

    @invariant()
    def all_is_known(self) -> None:
        alive = self.planner.alive
        if len(alive) < 2 and not any(self.told.values()):
            return
        nodes = {view.node for view in alive}
        last = [self.told[view.slot] for view in alive]
        assert all(frame is not None and set(frame.nodes) == nodes for frame in last) or len(alive) == 1
        homes = [view for view in alive if (frame := self.told[view.slot]) is None or frame.home]
        assert homes == ([self.planner.home] if alive else [])


TestLife = Life.TestCase
