"""Commands: the recipients, the effect on return, and the outcome."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.hub.hub import Connection
from moorage.hub.outbox import SLICE
from moorage.hub.settings import Limits
from moorage.hub.turns import finished
from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    CloseConnections,
    Command,
    Exists,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Member,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import API_CLOSED, TOO_MANY_GROUPS
from tests.hub.fakes import HUB, RecordingPeer, World, heard, sink_of
from tests.support.examples import times

ROOT = namespace_group("/")


@pytest.fixture
def world() -> World:
    """A node with an app server."""
    world = World()
    world.server()
    return world


def to_rooms(*rooms: str, besides: Iterable[str] = (), excluded: tuple[str, ...] = ()) -> Selection:
    """The selection of an emit to several rooms with exceptions."""
    wanted = " or ".join(f"'{room_group('/', room)}' in groups" for room in rooms)
    unwanted = "".join(f" and not ('{room_group('/', room)}' in groups)" for room in besides)
    return Selection(filter=compile_filter(f"({wanted}){unwanted}"), excluded=excluded)


def in_room(room: str) -> Selection:
    """One room of `/`."""
    return Selection(group=room_group("/", room))


# -- once, for any mix of rooms


@settings(max_examples=times(0.6))
@given(
    memberships=st.lists(st.sets(st.sampled_from("abc")), min_size=2, max_size=8),
    rooms=st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
    besides=st.lists(st.sampled_from("abc"), max_size=2),
    excluded=st.sets(st.integers(0, 7), max_size=2),
    polling=st.booleans(),
)
def test_each_socket_gets_an_emit_once(
    memberships: list[set[str]], rooms: list[str], besides: list[str], excluded: set[int], polling: bool
) -> None:
    world = World()
    world.server()
    clients = [world.client("/", framed=not polling or number % 2 == 0) for number in range(len(memberships))]
    for client, joined in zip(clients, memberships, strict=True):
        world.join(client, *joined)
    left_out = tuple(clients[number].id for number in excluded if number < len(clients))
    outcome = world.emit(to_rooms(*rooms, besides=besides, excluded=left_out), b"42[1]")
    world.settle()
    expected = [
        bool(joined.intersection(rooms)) and not joined.intersection(besides) and client.id not in left_out
        for client, joined in zip(clients, memberships, strict=True)
    ]
    assert [len(heard(client)) for client in clients] == [int(hears) for hears in expected]
    assert outcome == Outcome(reached=sum(expected))


def test_an_exception_applies_to_all_of_several_rooms(world: World) -> None:
    one, both, outsider = world.client("/"), world.client("/"), world.client("/")
    world.join(one, "r1")
    world.join(both, "r1", "r3")
    world.emit(to_rooms("r1", "r2", besides=["r3"]), b"42[1]")
    world.settle()
    assert [heard(client) for client in (one, both, outsider)] == [[b"42[1]"], [], []]


# -- order, for any mix of sends

SENDS = st.lists(st.sampled_from(["direct", "room", "all", "other", "tick"]), min_size=1, max_size=25)


@settings(max_examples=times(0.25))
@given(SENDS)
def test_each_client_gets_emits_in_order(sends: list[str]) -> None:
    world = World()
    world.server()
    # So many members that a broadcast is sent in slices.
    crowd = [world.client("/", framed=number % 100 != 0) for number in range(SLICE + 20)]
    watched = [crowd[0], crowd[1], crowd[-1]]
    for client in watched:
        world.join(client, "room")
    sent: list[bytes] = []
    for number, send in enumerate(sends):
        packet = b"42[%d]" % number
        if send == "tick":
            world.tick()
        elif send == "other":
            world.send(crowd[7], packet)
        elif send == "direct":
            for client in watched:
                world.send(client, packet)
        else:
            world.emit(in_room("room") if send == "room" else Selection(group=ROOT), packet)
        if send not in ("tick", "other"):
            sent.append(packet)
    world.settle()
    for client in watched:
        # One poll does not take them all.
        while client.outbox.size:
            client.outbox.unblock()
        assert heard(client) == sent


# -- joins and leaves


def test_a_join_is_in_effect_when_it_returns(world: World) -> None:
    client = world.client("/")
    assert world.join(client, "room") == Outcome(reached=1)
    assert world.emit(in_room("room"), b"42[1]").reached == 1
    # A second join changes nothing. A leave is in effect at once, too.
    world.join(client, "room")
    leave = LeaveGroups(HUB, Selection(connection=client.id), (room_group("/", "room"),))
    assert world.execute(leave) == Outcome(reached=1)
    assert world.emit(in_room("room"), b"42[1]").reached == 0
    assert world.execute(leave) == Outcome(reached=1)


def test_a_join_of_many_at_once(world: World) -> None:
    ada, bob = world.client("/", user_id="ada"), world.client("/", user_id="bob")
    join = JoinGroups(HUB, Selection(group=ROOT), (room_group("/", "x"), "plain"))
    assert world.execute(join) == Outcome(reached=2)
    assert all({room_group("/", "x"), "plain"} <= client.groups for client in (ada, bob))
    # The join changes the selection itself.
    world.execute(LeaveGroups(HUB, Selection(group="plain"), ("plain",)))
    assert world.emit(Selection(group="plain"), b"42[1]").reached == 0


def test_a_socket_cannot_join_rooms_of_another_namespace(world: World) -> None:
    client = world.client("/")
    assert world.join(client, "room", namespace="/ns").reached == 1
    world.node.receive(client, b"40/ns,")
    world.join(client, "early", namespace="/ns")
    assert room_group("/ns", "room") not in client.groups
    assert room_group("/ns", "early") in client.groups


def test_the_number_of_groups_is_bounded() -> None:
    world = World(limits=Limits(max_groups=4))
    world.server()
    first, second = world.client("/"), world.client("/")
    # The namespace and the private room count as two.
    world.join(first, "a", "b")
    with pytest.raises(PeerError) as caught:
        world.execute(JoinGroups(HUB, Selection(group=ROOT), (room_group("/", "c"),)))
    assert caught.value.reason is TOO_MANY_GROUPS
    # One exceeds the limit, so none was joined.
    assert len(second.groups) == 2
    # A joined group does not count again.
    assert world.join(first, "a", "b").reached == 1


@pytest.mark.parametrize("by", ["connection", "user", "everyone"])
def test_leaving_all_groups_leaves_the_socket_connected(world: World, by: str) -> None:
    client = world.client("/", "/ns", user_id="ada", groups=("from-token",))
    world.join(client, "a", "b")
    world.join(client, "c", namespace="/ns")
    world.node.receive(client, b"40/pending,")
    world.join(client, "early", namespace="/pending")
    to = {"connection": Selection(connection=client.id), "user": Selection(user="ada"), "everyone": EVERYONE}
    assert world.execute(LeaveGroups(HUB, to[by], None)) == Outcome(reached=1)
    assert client.groups == {
        ROOT,
        room_group("/", f"{client.id}/"),
        namespace_group("/ns"),
        room_group("/ns", f"{client.id}/ns"),
    }
    # Broadcasts and sends to the private room still arrive.
    assert world.emit(Selection(group=ROOT), b"42[1]").reached == 1
    assert world.emit(in_room(f"{client.id}/"), b"42[2]").reached == 1
    assert world.emit(Selection(group="from-token"), b"42[3]").reached == 0
    world.settle()
    assert heard(client) == [b"42[1]", b"42[2]"]


# -- found or not


def one(connection: str) -> Selection:
    """A selection of one id."""
    return Selection(connection=connection)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (SendToConnection(HUB, "nobody", b"42[]"), NOT_FOUND),
        (Send(HUB, EVERYONE, b"42[]"), DONE),
        (Send(HUB, Selection(group="none"), b"42[]"), DONE),
        (Send(HUB, Selection(user="none"), b"42[]"), DONE),
        (Send(HUB, one("nobody"), b"42[]"), NOT_FOUND),
        (JoinGroups(HUB, one("nobody"), ("g",)), NOT_FOUND),
        (JoinGroups(HUB, Selection(user="none"), ("g",)), NOT_FOUND),
        (JoinGroups(HUB, Selection(group="none"), ("g",)), DONE),
        (LeaveGroups(HUB, one("nobody"), None), NOT_FOUND),
        (LeaveGroups(HUB, Selection(group="none"), None), DONE),
        (CloseConnections(HUB, one("nobody")), NOT_FOUND),
        (CloseConnections(HUB, EVERYONE), DONE),
        (Exists(HUB, EVERYONE), NOT_FOUND),
        (Exists(HUB, Selection(group="none")), NOT_FOUND),
        (ListGroup(HUB, "none", 10), DONE),
    ],
)
def test_commands_for_an_unknown_target(command: Command, outcome: Outcome) -> None:
    world = World()
    # A hub that does not exist answers like an empty one.
    assert world.execute(command) == outcome
    world.server()
    assert world.execute(command) == outcome


def test_commands_for_a_known_target(world: World) -> None:
    client = world.client("/", user_id="ada")
    filtered = Selection(connection=client.id, filter=compile_filter("userId eq 'bob'"))
    assert world.execute(Exists(HUB, one(client.id))) == DONE
    assert world.execute(Exists(HUB, Selection(user="ada"))) == DONE
    assert world.execute(Exists(HUB, Selection(group=ROOT))) == DONE
    assert world.execute(Exists(HUB, filtered)) == NOT_FOUND
    # The connection exists and the filter does not match it: this is not an error.
    assert world.execute(Send(HUB, filtered, b"42[1]")) == DONE
    assert world.send(client, b"42[2]") == DONE
    world.settle()
    assert heard(client) == [b"42[2]"]


def test_close_commands(world: World) -> None:
    ada, bob, eve = (world.client("/", user_id=user) for user in ("ada", "bob", "eve"))
    sinks = [sink_of(client) for client in (ada, bob, eve)]
    outcome = world.execute(CloseConnections(HUB, Selection(group=ROOT, excluded=(eve.id,)), "maintenance"))
    assert outcome == Outcome(reached=2)
    assert [[reason for reason, _ in sink.closed] for sink in sinks] == [[API_CLOSED], [API_CLOSED], []]
    assert [line[1:4] for line in world.logged] == [("api-closed", "api", "maintenance")] * 2


def test_pages_of_a_group(world: World) -> None:
    clients: list[Connection] = [world.client("/", user_id=f"u{n}") for n in range(5)]
    members = tuple(Member(client.id, client.user_id) for client in clients)
    pages: list[tuple[Member, ...]] = []
    after, more = "", True
    while more:
        page = world.execute(ListGroup(HUB, ROOT, 2, after))
        assert page.reached == len(page.members)
        pages.append(page.members)
        after, more = page.members[-1].connection_id, page.more
    assert pages == [members[:2], members[2:4], members[4:]]
    # A page that is exactly full is the last one.
    whole = world.execute(ListGroup(HUB, ROOT, 5))
    assert (whole.members, whole.more) == (members, False)
    # A member that leaves between two pages does not affect the others.
    world.node.receive(clients[1], b"1")
    assert world.execute(ListGroup(HUB, ROOT, 2, clients[1].id)).members == members[2:4]


# -- notifications of app servers


class Known(World):
    """Two app servers that get notifications, and a client of each in `/`."""

    def __init__(self) -> None:
        super().__init__()
        self.peers = [RecordingPeer(), RecordingPeer()]
        for number, peer in enumerate(self.peers):
            self.server(f"s{number}", peer=peer)
        self.clients = [self.client("/"), self.client("/")]

    @property
    def moves(self) -> list[list[tuple[str, tuple[str, ...], bool]]]:
        """The notifications of each: namespace, rooms, joined."""
        return [[move[1:] for move in peer.moves] for peer in self.peers]


def test_the_serving_app_server_is_notified_of_joins_and_leaves() -> None:
    world = Known()
    one_client = Selection(connection=world.clients[0].id)
    groups = (room_group("/", "a"), room_group("/", "b"), room_group("/ns", "not in it"), "no room")
    world.execute(JoinGroups(HUB, one_client, groups))
    world.execute(LeaveGroups(HUB, Selection(group=ROOT), (room_group("/", "a"),)))
    assert world.moves == [[("/", ("a", "b"), True), ("/", ("a",), False)], [("/", ("a",), False)]]


def test_an_app_server_is_not_notified_of_its_own_changes() -> None:
    world = Known()
    to = Selection(connection=world.clients[0].id)
    world.execute(JoinGroups(HUB, to, (room_group("/", "a"),), quiet=True))
    world.execute(LeaveGroups(HUB, to, (room_group("/", "a"),), quiet=True))
    assert world.moves == [[], []]


def test_leaving_all_groups_reports_the_rooms() -> None:
    world = Known()
    world.join(world.clients[0], "a", "b")
    world.execute(LeaveGroups(HUB, Selection(connection=world.clients[0].id), None))
    (_, (namespace, rooms, joined)), _ = world.moves
    assert (namespace, sorted(rooms), joined) == ("/", ["a", "b"], False)


@pytest.mark.parametrize("close", [False, True])
def test_sockets_of_all_app_servers_are_disconnected_from_a_namespace(close: bool) -> None:
    world = Known()
    sinks = [sink_of(client) for client in world.clients]
    world.enter(world.clients[1], "/ns")
    outcome = world.execute(LeaveNamespace(HUB, Selection(group=ROOT), "/", close))
    world.settle()
    assert outcome == Outcome(reached=2)
    one, two = world.clients
    also = [(two.id, "/ns")] if close else []
    assert [peer.lefts for peer in world.peers] == [[(one.id, "/")], [(two.id, "/"), *also]]
    assert all(b"41" in sink.packets for sink in sinks)
    assert world.node.connections == (0 if close else 2)
    if not close:
        # A socket that is not in the namespace is not affected.
        assert world.execute(LeaveNamespace(HUB, EVERYONE, "/", close)) == Outcome(reached=0)
        assert world.sockets == 1


def test_a_volatile_emit_skips_clients_that_cannot_take_it(world: World) -> None:
    websocket, full, polling = world.client("/"), world.client("/"), world.client("/", framed=False)
    full.outbox.ready = False
    world.send(polling, b'42["takes its poll"]')
    world.settle()
    assert world.execute(Send(HUB, EVERYONE, b"42[1]", True)) == Outcome(reached=1)
    assert world.execute(Send(HUB, EVERYONE, b"42[2]")) == Outcome(reached=3)
    world.settle()
    for client in (full, polling):
        client.outbox.unblock()
    assert heard(websocket) == [b"42[1]", b"42[2]"]
    assert heard(full) == [b"42[2]"]
    assert heard(polling) == [b'42["takes its poll"]', b"42[2]"]


def test_a_command_for_a_connection_that_its_filter_excludes_reaches_nobody(world: World) -> None:
    client = world.client("/", user_id="ada")
    filtered = Selection(connection=client.id, filter=compile_filter("userId eq 'bob'"))
    assert world.execute(LeaveNamespace(HUB, filtered, "/")) == DONE
    assert world.execute(LeaveNamespace(HUB, one("nobody"), "/")) == NOT_FOUND
    assert client.session.peer.namespaces["/"]


def test_a_disconnect_of_many_clients_is_delivered_in_steps(world: World) -> None:
    clients = [world.client("/") for _ in range(60)]
    outcome = world.node.carry_out(Send(HUB, Selection(group=ROOT), b"41", control=True))
    assert not isinstance(outcome, Outcome)
    assert finished(outcome) == Outcome(reached=60)
    world.settle()
    assert all(heard(client) == [b"41"] for client in clients)


def test_text_for_one_client_is_checked(world: World) -> None:
    client = world.client("/")
    world.send(client, '42["é"]'.encode())
    with pytest.raises(PeerError):
        world.send(client, b'42["\xff"]')
    world.settle()
    assert heard(client) == ['42["é"]'.encode()]
