"""Sockets that move to another node, without the way between the two (`tests/cluster/recovery` has it)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from moorage.hub.recovery.causes import DROPPED, ELSEWHERE, FOREIGN, OFFSET, UNKNOWN, UNSAVED
from moorage.hub.recovery.moves import OFFER_SECONDS, SAVE_SECONDS, Expected, Gifts, Given
from moorage.hub.settings import HubSettings
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, Send
from moorage.wire.groups import room_group
from moorage.wire.recovery.moving import Asked, Denied, More, Offered, Take, Taken
from tests.hub.fakes import HUB, World
from tests.hub.recovery.stage import ROOT, Returning, Stage, room

NAMES = count()


class NamedWorld(World):
    """Its ids differ from those of all others."""

    def __post_init__(self) -> None:
        self.name = f"{next(NAMES):03}"
        super().__post_init__()

    def _new_id(self) -> str:
        return self.name + super()._new_id()


class Home(Stage):
    """A node that may give sockets away."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(NamedWorld(hubs={"default": HubSettings(**settings)}))
        node = self.world.node
        self.gifts = Gifts(node.hubs, node.clock, node.claims.end_former)
        node.claims.saved = self.gifts.saved
        self.answers: list[Offered | Denied] = []

    def ask(self, client: Returning, **more: Any) -> None:
        offset = client.offset.get("/")
        given: dict[str, Any] = {
            "number": 1,
            "hub": HUB,
            "pid": client.pid["/"],
            "namespace": "/",
            "offset": offset,
        } | more
        self.gifts.ask("other", Asked(**given), self.answers.append)

    def offered(self, client: Returning, **more: Any) -> Offered:
        self.ask(client, **more)
        answer = self.answers.pop()
        assert isinstance(answer, Offered), answer
        return answer

    def denied(self, client: Returning, **more: Any) -> str:
        self.ask(client, **more)
        answer = self.answers.pop()
        assert isinstance(answer, Denied), answer
        return answer.cause

    def take(
        self, offered: Offered, executed: Mapping[str, int] | None = None, node: str = "other", **more: Any
    ) -> Any:
        given: dict[str, Any] = {
            "number": 1,
            "hub": HUB,
            "pid": offered.pid,
            "groups": offered.groups,
            "executed": {},
        } | more
        return self.gifts.take(node, Take(**given), executed or {})


def taken(given: Given) -> Taken:
    return Taken(1, given.groups, given.left, given.segments, given.whole, {}, given.seen)


def move(one: Home, other: Home, client: Returning, **more: Any) -> None:
    """The socket moves, and its client can come back at the other node."""
    offered = one.offered(client, **more)
    recovery = other.world.hub().recovery
    assert recovery is not None
    expected = Expected(recovery, offered)
    given = one.take(offered)
    assert isinstance(given, Given), given
    expected.take(taken(given), {})
    client.stage = other


@pytest.fixture
def one() -> Home:
    return Home()


@pytest.fixture
def other() -> Home:
    home = Home()
    home.world.client("/")
    return home


def parked(home: Home, *rooms: str) -> Returning:
    client = home.client()
    home.world.join(client.connection, *rooms)
    home.world.emit(ROOT, b'42["first"]')
    client.lose(save=b'{"a":1}')
    return client


def test_a_socket_moves_with_what_it_has_missed(one: Home, other: Home) -> None:
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    move(one, other, client)
    other.world.emit(room("a"), b'42["missed",2]')
    client.come_back()
    assert client.events == [["/", "missed", 1], ["/", "missed", 2]]
    ((_, socket),) = other.returns.sockets
    assert (socket.rooms, socket.data) == (("a",), b'{"a":1}')
    assert one.denied(client) == UNKNOWN
    assert one.world.node.claims.counts.moved == 1


def test_the_client_may_have_an_offset_of_each_node_that_the_socket_was_at(one: Home, other: Home) -> None:
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    one.world.emit(room("a"), b'42["missed",2]')
    before = client.offset["/"]
    move(one, other, client)
    client.come_back()
    got = client.offset["/"]
    assert before.partition(".")[0] == got.partition(".")[0]
    # It had nothing of what it got, one event, or all.
    for offset, events in ((before, [1, 2]), (got, [])):
        client.lose()
        client.come_back(offset=offset)
        assert [event[2] for event in client.events] == events
    other.world.emit(room("a"), b'42["live",3]')
    client.lose()
    client.come_back(offset=got)
    assert [event[2] for event in client.events] == [3]
    client.lose()
    other.world.emit(room("a"), b'42["missed",4]')
    client.come_back()
    assert [event[2] for event in client.events] == [4]
    for wrong in (
        "elsewhere.1",
        got.partition(".")[0] + ".ffff",
        f"{client.offset['/'].partition('.')[0]}.1",
    ):
        client.lose()
        client.come_back(offset=wrong, answer=False)
    assert other.world.node.claims.counts.refused == {OFFSET: 3}


def test_a_socket_moves_on_with_what_its_client_may_lack(one: Home, other: Home) -> None:
    third = Home()
    third.world.client("/")
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    one.world.emit(room("a"), b'42["missed",2]')
    move(one, other, client)
    other.world.emit(room("a"), b'42["missed",3]')
    move(other, third, client)
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 3]
    # It comes from the middle: the first event is not needed any more.
    client.lose()
    middle = client.offset["/"].partition(".")
    move(third, one, client)
    client.come_back()
    assert client.events == []
    client.lose()
    one.world.emit(room("a"), b'42["missed",4]')
    client.come_back(offset="".join(middle))
    assert [event[2] for event in client.events] == [4]


def test_of_what_came_before_only_the_rest_moves_on(one: Home, other: Home) -> None:
    third = Home()
    third.world.client("/")
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    one.world.emit(room("a"), b'42["missed",2]')
    epoch, _, place = client.offset["/"].partition(".")
    move(one, other, client)
    client.offset["/"] = f"{epoch}.{int(place, 16) + 1:x}"
    move(other, third, client)
    client.come_back()
    assert [event[2] for event in client.events] == [2]


def test_a_client_that_has_received_nothing(one: Home, other: Home) -> None:
    client = one.client()
    client.lose()
    one.world.emit(ROOT, b'42["missed",1]')
    move(one, other, client)
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    # If something was left out, it cannot be told what such a client lacks.
    client.lose()
    move(other, one, client)
    del client.offset["/"]
    client.come_back(answer=False)
    assert one.world.node.claims.counts.refused == {OFFSET: 1}


def test_events_that_wait_for_an_ack_move_until_they_have_it(one: Home, other: Home) -> None:
    client = one.client()
    one.world.emit(ROOT, b'42["first"]')
    one.world.send(client.connection, b'420["question",1]')
    one.world.send(client.connection, b'421["question",2]')
    client.read()
    one.world.node.receive(client.connection, b"431[]")
    client.lose()
    move(one, other, client)
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    client.lose()
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    client.lose()
    move(other, one, client)
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    (packet,) = [packet for packet in client.packets if b"question" in packet]
    one.world.node.receive(client.connection, b"43" + packet[2 : packet.index(b"[")] + b"[]")
    client.lose()
    client.come_back()
    assert client.events == []


def test_an_emit_that_both_nodes_carry_out_arrives_once(one: Home, other: Home) -> None:
    client = parked(one, "a")
    emits = [Send(HUB, room("a"), b'42["e",%d]' % n, source="app", number=n) for n in range(1, 4)]
    emits += [Send(HUB, room("a"), b'42["e",%d]' % n, source="node", number=n) for n in range(4, 6)]
    late = Send(HUB, room("a"), b'42["e",6]', source="app", number=4)
    for emit in emits:
        one.world.submit(emit)
    offered = one.offered(client)
    recovery = other.world.hub().recovery
    assert recovery is not None
    expected = Expected(recovery, offered)
    assert set(expected.groups) == set(offered.groups)
    for emit in (*emits[1:], late):
        other.world.submit(emit)
    given = one.take(offered, {"app": 3})
    assert sorted(given.seen) == [("node", 4), ("node", 5)]
    expected.take(taken(given), {"app": 3})
    client.stage = other
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 3, 4, 5, 6]


def test_groups_may_change_while_the_socket_moves(one: Home, other: Home) -> None:
    client = parked(one, "left", "both", "kept")
    offered = one.offered(client)
    recovery = other.world.hub().recovery
    assert recovery is not None
    expected = Expected(recovery, offered)

    def change(home: Home, name: str, *, joined: bool) -> None:
        to = Selection(group=room_group("/", client.sid["/"]))
        make = JoinGroups if joined else LeaveGroups
        home.world.submit(make(HUB, to, (room_group("/", name),)))

    change(one, "left", joined=False)
    for home in (one, other):
        change(home, "both", joined=False)
    change(one, "new", joined=True)
    more = one.take(offered)
    assert isinstance(more, More)
    expected.join(more.groups)
    change(other, "later", joined=True)
    change(other, "new", joined=False)
    given = one.take(offered, groups=(*expected.groups, room_group("/", "new")))
    assert isinstance(given, Given)
    expected.take(taken(given), {})
    client.stage = other
    client.come_back(answer=False)
    assert set(other.returns.sockets[0][1].rooms) == {"kept", "later"}


def test_what_is_denied(one: Home) -> None:
    client = parked(one)
    assert one.denied(client, hub="elsewhere") == UNKNOWN
    assert one.denied(client, pid="elsewhere") == UNKNOWN
    assert one.denied(client, namespace="/other") == FOREIGN
    assert one.denied(client, user="other") == FOREIGN
    assert one.denied(client, offset="elsewhere.1") == OFFSET
    one.world.node.hub(HUB)


def test_what_is_dropped_is_denied_at_each_step() -> None:
    one = Home(recovery_session_events=2)
    first, second = parked(one, "a"), parked(one, "a")
    one.world.emit(room("a"), b'42["e"]')
    offered = one.offered(second)
    for _ in range(2):
        one.world.emit(room("a"), b'42["e"]')
    assert one.denied(first) == DROPPED
    assert one.denied(first) == UNKNOWN
    assert one.take(offered) == Denied(1, DROPPED)
    assert one.take(offered) == Denied(1, UNKNOWN)


def test_a_live_client_is_ended_and_its_data_awaited(one: Home) -> None:
    client = one.client()
    one.world.emit(ROOT, b'42["first"]')
    client.read()
    one.ask(client)
    assert one.world.observer.closes and not one.answers
    client.save(b"{}")
    assert isinstance(one.answers.pop(), Offered)
    client.save(b'{"again":1}')
    assert not one.answers
    again = one.client()
    one.ask(again, number=2)
    one.world.now += SAVE_SECONDS
    one.gifts.tick(one.world.now)
    assert one.answers == [Denied(2, UNSAVED)]


def test_an_offer_ends(one: Home) -> None:
    client = parked(one)
    offered = one.offered(client)
    one.gifts.tick(one.world.now)
    assert one.take(offered, number=2) == Denied(2, UNKNOWN)
    assert one.take(offered, node="third") == Denied(1, UNKNOWN)
    one.world.now += OFFER_SECONDS
    one.gifts.tick(one.world.now)
    assert one.take(offered) == Denied(1, UNKNOWN)
    # The client has come back to the node that offers its socket.
    offered = one.offered(client)
    client.come_back(answer=False)
    assert one.take(offered) == Denied(1, ELSEWHERE)
    assert one.take(offered) == Denied(1, UNKNOWN)
    client.answer()


def test_a_socket_that_does_not_come_leaves_nothing(one: Home, other: Home) -> None:
    client = parked(one, "a")
    recovery = other.world.hub().recovery
    assert recovery is not None
    Expected(recovery, one.offered(client)).give_up()
    assert not recovery.away
    assert not recovery.away.rooms.members(room_group("/", "a"))


def test_a_socket_whose_client_has_not_come_back_moves_as_a_whole(one: Home, other: Home) -> None:
    assert one.denied(one.client(), whole=True) == UNKNOWN
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    move(one, other, client, whole=True, offset=None)
    move(other, one, client, whole=True, offset=None)
    client.come_back()
    assert [event[2] for event in client.events] == [1]


def test_what_the_client_has_certainly_received_does_not_move(one: Home, other: Home) -> None:
    client = one.client()
    one.world.join(client.connection, "a", "b")
    one.world.emit(room("a"), b'42["old",1]')
    one.world.emit(room("b"), b'42["old",1]')
    recovery = one.world.hub().recovery
    assert recovery is not None
    recovery.tick(one.world.now + 60.0)
    one.world.emit(room("a"), b'42["e",2]')
    client.lose()
    one.world.emit(room("a"), b'42["missed",3]')
    offered = one.offered(client, whole=True, offset=None)
    given = one.take(offered)
    assert [event.payload[:8] for event in given.segments[0].events] == [b'42["e",2', b'42["miss']


def test_a_socket_that_missed_too_much_for_a_whole_move_stays() -> None:
    one = Home(recovery_session_events=1)
    client = parked(one, "a")
    for number in range(3):
        one.world.emit(room("a"), b'42["e",%d]' % number)
    assert one.denied(client, whole=True, offset=None) == DROPPED
    assert one.denied(client, whole=True, offset=None) == DROPPED


def test_everyone(one: Home) -> None:
    client = parked(one)
    recovery = one.world.hub().recovery
    assert recovery is not None
    assert client.pid["/"] in [track.pid for track in recovery.everyone()]


def test_what_the_client_has_got_stays_behind(one: Home, other: Home) -> None:
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    move(one, other, client)
    client.come_back()
    other.world.emit(room("a"), b'42["live",2]')
    client.lose()
    offered = other.offered(client)
    given = other.take(offered)
    assert [(segment.first < segment.last, segment.events) for segment in given.segments] == [(False, ())]
    assert not given.whole


def test_the_last_node_that_asks_gets_the_socket(one: Home) -> None:
    client = parked(one)
    asked = Asked(number=1, hub=HUB, pid=client.pid["/"], namespace="/", offset=client.offset.get("/"))
    one.gifts.ask("other", asked, one.answers.append)
    one.gifts.ask("third", asked, one.answers.append)
    first, second, third = one.answers
    assert isinstance(first, Offered)
    assert second == Denied(1, ELSEWHERE)
    assert isinstance(third, Offered)
    assert one.take(third, node="other") == Denied(1, UNKNOWN)


@pytest.mark.parametrize("before", ["the former gives up", "the former arrives", "the latter arrives"])
def test_a_socket_that_is_expected_twice_is_here_once(one: Home, other: Home, before: str) -> None:
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    recovery = other.world.hub().recovery
    assert recovery is not None
    offered = one.offered(client)
    former, latter = Expected(recovery, offered), Expected(recovery, offered)
    given = taken(one.take(offered))
    if before == "the former gives up":
        former.give_up()
    else:
        (former if before == "the former arrives" else latter).take(given, {})
    (former if before == "the latter arrives" else latter).take(given, {})
    assert [track.pid for track in recovery.everyone()].count(client.pid["/"]) == len(recovery.away) == 1
    client.stage = other
    client.save(b'{"a":2}')
    client.come_back()
    assert [event[2] for event in client.events] == [1]
    assert other.returns.sockets[0][1].data == b'{"a":2}'
    assert not recovery.away
