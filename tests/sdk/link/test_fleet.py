from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.sdk.link.fleet import Aim, Fleet, Order, Seat, aim_of, inward, outward, slot_of
from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow

TO = v1.To("/")


def row(name: str, *, cover: bool = True) -> NodeRow:
    return NodeRow(name, f"node {name}", f"http://{name}", "", cover)


def rows(names: str, version: int = 1) -> v1.Nodes:
    """A list of nodes; those in capitals need not be covered."""
    return v1.Nodes(version, tuple(row(name, cover=name.islower()) for name in names))


def covering(fleet: Fleet, names: str) -> list[Seat]:
    """A session at each of these nodes, the first one at home."""
    first = fleet.add()
    fleet.greeted(first, names[0], new=True)
    fleet.listed(first, rows(names))
    for wanted in fleet.steps().dial:
        fleet.greeted(fleet.add(wanted), wanted.id, new=True)
    return list(fleet.seats.values())


def test_with_one_node_nothing_is_said() -> None:
    fleet = Fleet()
    first = fleet.add()
    assert fleet.greeted(first, "a", new=True) == []
    fleet.listed(first, rows("aB"))
    assert fleet.steps() == ([], [])
    assert fleet.covered
    assert fleet.lost(first) == []


def test_a_new_session_is_told_first_and_all_others_at_the_same_moment() -> None:
    fleet = Fleet()
    first = fleet.add()
    fleet.greeted(first, "a", new=True)
    fleet.listed(first, rows("ab"))
    assert fleet.steps().dial == [row("b")]
    second = fleet.add(row("b"))
    assert fleet.steps().dial == [], "it is being dialled"
    before = fleet.covered
    assert fleet.greeted(second, "b", new=True) == [
        Order(first, v1.Cover(1, True, False, ("a", "b"))),
        Order(second, v1.Cover(1, False, True, ("a", "b"))),
    ]
    assert (before, fleet.covered) == (False, True)
    fleet.down(second)
    assert fleet.greeted(second, "b", new=False) == [], "a resumed session knows it all"


def test_the_loss_of_a_session_is_told_to_the_others() -> None:
    fleet = Fleet()
    one, two, three = covering(fleet, "abc")
    assert fleet.lost(two) == [
        Order(one, v1.Cover(3, True, False, ("a", "c"))),
        Order(three, v1.Cover(3, False, False, ("a", "c"))),
    ]
    assert fleet.lost(two) == []


def test_when_the_home_is_lost_another_session_becomes_it() -> None:
    fleet = Fleet()
    one, two, three = covering(fleet, "abc")
    fleet.down(two)
    assert fleet.lost(one) == [
        Order(two, v1.Cover(3, False, False, ("b", "c"))),
        Order(three, v1.Cover(3, True, False, ("b", "c"))),
    ], "one whose link is up"
    assert fleet.home is three
    assert fleet.lost(three) == [Order(two, v1.Cover(4, True, False, ("b",)))]
    assert fleet.lost(two) == []
    assert fleet.home is None


def test_a_node_is_given_up_if_its_link_is_down_and_no_other_lists_it() -> None:
    fleet = Fleet()
    one, two, _ = covering(fleet, "abc")
    fleet.listed(one, rows("ac", 2))
    assert fleet.steps().drop == [], "its own link is up"
    fleet.down(two)
    assert fleet.steps().drop == [two]
    fleet.listed(one, rows("abc", 1))
    assert fleet.steps().drop == [two], "an old list"
    fleet.listed(one, rows("abc", 3))
    assert fleet.steps().drop == []


def test_without_any_link_no_node_is_given_up() -> None:
    fleet = Fleet()
    one, two = covering(fleet, "ab")
    fleet.listed(two, rows("b", 1))
    fleet.down(one)
    fleet.down(two)
    assert fleet.steps() == ([], [])


def test_the_home_decides_who_is_covered() -> None:
    fleet = Fleet()
    one, two, three = covering(fleet, "abc")
    fleet.listed(two, rows("abCd", 1))
    assert fleet.steps() == ([], [])
    fleet.listed(one, v1.Nodes(2, (row("a"), row("b"), row("c", cover=False), row("d"))))
    assert fleet.steps() == ([row("d")], [three])


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
        self.fleet = Fleet()
        self.first = self.fleet.add()
        self.told: dict[int, v1.Cover | None] = {}
        self.term = 0
        self.take(self.first, self.fleet.greeted(self.first, "a", new=True))

    def take(self, new: Seat | None, orders: list[Order]) -> None:
        """The nodes get their frames."""
        if new is not None:
            self.told[new.slot] = None
        for seat, frame in orders:
            assert frame.fence == (seat is new)
            self.told[seat.slot] = frame
        if orders:
            (term,) = {frame.term for _, frame in orders}
            assert term > self.term
            assert {seat.slot for seat, _ in orders} == {seat.slot for seat in self.fleet.alive}
            self.term = term

    @rule(who=st.integers(0, 9), names=st.sets(names, min_size=1))
    def listed(self, who: int, names: set[str]) -> None:
        up = [seat for seat in self.fleet.seats.values() if seat.up]
        if up:
            seat = up[who % len(up)]
            listed = "".join(sorted({*names, seat.node}))
            self.fleet.listed(seat, rows(listed, seat.version + 1))

    @rule()
    def settled(self) -> None:
        for seat in self.fleet.steps().drop:
            self.fleet.remove(seat)
            self.lose(seat)
        for wanted in self.fleet.steps().dial:
            self.fleet.add(wanted)
        nodes = [seat.node for seat in self.fleet.seats.values()]
        assert len(set(nodes)) == len(nodes), "one session per node"

    def lose(self, seat: Seat) -> None:
        orders = self.fleet.lost(seat)
        self.told.pop(seat.slot, None)
        self.take(None, orders)

    @rule(who=st.integers(0, 9), new=st.booleans())
    def greeted(self, who: int, new: bool) -> None:
        down = [seat for seat in self.fleet.seats.values() if not seat.up]
        if not down:
            return
        seat = down[who % len(down)]
        if seat.alive and new:
            self.lose(seat)
        fresh = not seat.alive
        self.take(seat if fresh else None, self.fleet.greeted(seat, seat.node, new=fresh))

    @precondition(lambda self: self.fleet.up)
    @rule(who=st.integers(0, 9), forgotten=st.booleans())
    def broke(self, who: int, forgotten: bool) -> None:
        up = [seat for seat in self.fleet.seats.values() if seat.up]
        seat = up[who % len(up)]
        self.fleet.down(seat)
        if forgotten:
            self.lose(seat)

    @invariant()
    def all_is_known(self) -> None:
        alive = self.fleet.alive
        if len(alive) < 2 and not any(self.told.values()):
            return
        nodes = {seat.node for seat in alive}
        last = [self.told[seat.slot] for seat in alive]
        assert all(frame is not None and set(frame.nodes) == nodes for frame in last) or len(alive) == 1
        homes = [seat for seat in alive if (frame := self.told[seat.slot]) is None or frame.home]
        assert homes == ([self.fleet.home] if alive else [])


TestLife = Life.TestCase
