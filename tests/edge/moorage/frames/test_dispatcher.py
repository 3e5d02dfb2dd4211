"""What an app server of the moorage dialect may ask, frame by frame, and what comes of nonsense."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from moorage.edge.moorage.frames import dispatcher
from moorage.edge.moorage.frames.dispatcher import MAX_OPEN
from moorage.edge.moorage.frames.rooms import MAX_ROOM, MAX_ROOMS
from moorage.edge.settings import EdgeLimits
from moorage.wire.commands import JoinGroups, LeaveGroups, Outcome, Selection
from moorage.wire.errors import PeerError
from moorage.wire.groups import room_group
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from moorage.wire.reasons import TOO_MANY_GROUPS
from tests.edge.moorage.rig import App, Pair, Rig
from tests.hub.fakes import HUB, PollingSink, RecordingCluster, heard, sink_of


@pytest.fixture
def pair() -> Pair:
    """A fleet of two."""
    return Pair()


# -- emits ------------------------------------------------------------------------------------------------


def test_rooms_exceptions_and_once_each(pair: Pair) -> None:
    one = pair.one
    everyone = ["one1", "one2", "two1", "two2"]
    for sid, rooms in {"one1": ("a", "b"), "one2": ("b",), "two1": ("a",)}.items():
        app = one if sid in ("one1", "one2") else pair.two
        app.say(v1.Enter(0, pair.numbers[sid], "/", rooms))
    cases: list[tuple[To, list[str]]] = [
        (To("/"), everyone),
        (To("/", ("a",)), ["one1", "two1"]),
        (To("/", ("a", "b")), ["one1", "one2", "two1"]),
        (To("/", ("two2",)), ["two2"]),
        (To("/", ("a", "two2", "a")), ["one1", "two1", "two2"]),
        (To("/", (), ("a",)), ["one2", "two2"]),
        (To("/", ("b",), ("one1",)), ["one2"]),
        (To("/", ("a", "b"), ("a", "b")), []),
        (To("/", ("nobody",)), []),
        (To("/elsewhere"), []),
    ]
    for number, (to, reached) in enumerate(cases):
        packet = b'42["e",%d]' % number
        answer = one.ask(lambda ref, to=to, packet=packet: v1.Emit(ref, to, 0, packet))  # type: ignore[misc]
        assert answer == [v1.Done(one.ref, len(reached))]
        assert pair.got(packet) == reached


def test_only_its_own_clients(pair: Pair) -> None:
    pair.two.say(v1.Emit(0, To("/"), v1.LOCAL, b"42[1]"))
    assert pair.got(b"42[1]") == ["two1", "two2"]
    pair.one.say(v1.Emit(0, To("/", ("one1", "two1")), v1.LOCAL, b"42[2]"))
    assert pair.got(b"42[2]") == ["one1"]


def test_a_volatile_emit_leaves_out_clients_that_cannot_take_it(pair: Pair) -> None:
    pair.clients["one2"].outbox.ready = False
    volatile = pair.one.ask(lambda ref: v1.Emit(ref, To("/"), v1.VOLATILE, b"42[1]"))
    assert volatile == [v1.Done(1, 3)]
    assert pair.one.ask(lambda ref: v1.Emit(ref, To("/"), 0, b"42[2]")) == [v1.Done(2, 4)]
    pair.clients["one2"].outbox.unblock()
    assert heard(pair.clients["one2"]) == [b"42[2]"]


def test_without_a_number_nothing_is_answered(pair: Pair) -> None:
    pair.one.say(
        v1.Emit(0, To("/"), 0, b"42[1]"),
        v1.Enter(0, 1, "/", ("a",)),
        v1.Exit(0, 1, "/", ("a",)),
        v1.Join(0, To("/", ("one1",)), ()),
        v1.Leave(0, To("/", ("one1",)), ()),
        v1.Disconnect(0, To("/", ("nobody",)), False),
    )
    assert [frame for frame in pair.one.heard() if not isinstance(frame, v1.Moved)] == []


def test_frames_act_in_their_order_whatever_they_are(pair: Pair) -> None:
    one, number = pair.one, pair.numbers["one1"]
    one.say(
        v1.Packet(number, b"42[1]"),
        v1.Emit(0, To("/"), 0, b"42[2]"),
        v1.Enter(0, number, "/", ("a",)),
        v1.Emit(0, To("/", ("a",)), 0, b"42[3]"),
        v1.Exit(0, number, "/", ("a",)),
        v1.Emit(0, To("/", ("a",)), 0, b"42[lost]"),
        v1.Ask(9, To("/", ("one1",)), 0, 1000, b'42["q"]'),
        v1.Packet(number, b"42[4]"),
        v1.Disconnect(0, To("/", ("one1",)), False),
        v1.Packet(number, b"42[5]"),
    )
    pair.rig.settle()
    (ask,) = [packet for packet in heard(pair.clients["one1"]) if b'"q"' in packet]
    assert heard(pair.clients["one1"]) == [b"42[1]", b"42[2]", b"42[3]", ask, b"42[4]", b"41", b"42[5]"]


# -- rooms ------------------------------------------------------------------------------------------------


def test_its_own_sockets(pair: Pair) -> None:
    number = pair.numbers["one1"]
    assert pair.one.ask(lambda ref: v1.Enter(ref, number, "/", ("a", "b", "a"))) == [v1.Done(1, 1)]
    assert pair.rooms("one1") == ["a", "b"]
    assert pair.one.ask(lambda ref: v1.Exit(ref, number, "/", ("a", "c"))) == [v1.Done(2, 1)]
    assert pair.rooms("one1") == ["b"]
    # It knows what it does itself.
    assert pair.one.heard(v1.Moved) == []


def test_a_client_that_has_gone(pair: Pair) -> None:
    number = pair.numbers["one1"]
    pair.rig.world.node.receive(pair.clients["one1"], b"1")
    pair.one.heard()
    assert pair.one.ask(lambda ref: v1.Enter(ref, number, "/", ("a",))) == [v1.Done(1, 0)]
    assert pair.one.ask(lambda ref: v1.Exit(ref, number, "/", ("a",))) == [v1.Done(2, 0)]
    pair.one.say(v1.Packet(number, b"42[1]"), v1.Close(number))
    assert pair.one.heard() == []
    assert pair.rig.hub.directory.rooms.members(room_group("/", "a")) == frozenset()


def test_a_client_of_another_app_server_cannot_be_addressed(pair: Pair) -> None:
    number = pair.numbers["two1"]
    pair.one.say(v1.Enter(0, number, "/", ("a",)), v1.Packet(number, b"42[1]"), v1.Close(number))
    assert pair.rooms("two1") == []
    assert pair.got(b"42[1]") == []
    assert pair.one.heard() == pair.two.heard() == []
    pair.one.say(v1.Packet(pair.numbers["one2"], b"42[2]"), v1.Close(pair.numbers["one2"]))
    assert pair.one.heard(v1.Closed)[0].client == pair.numbers["one2"]
    assert pair.two.heard(v1.Closed) == []


def test_a_socket_may_join_before_it_is_connected_and_not_after_its_end(pair: Pair) -> None:
    number, connection = pair.numbers["one1"], pair.clients["one1"]
    node, group = pair.rig.world.node, room_group("/ns", "a")
    pair.one.say(v1.Enter(0, number, "/ns", ("a",)))
    assert group not in connection.groups, "its CONNECT has not come"
    node.receive(connection, b"40/ns,")
    pair.one.say(v1.Enter(0, number, "/ns", ("a",)))
    assert group in connection.groups
    pair.one.say(v1.Packet(number, b'44/ns,{"message":"no"}'), v1.Enter(0, number, "/ns", ("a",)))
    assert group not in connection.groups


def test_others_are_moved_and_their_app_servers_hear_it(pair: Pair) -> None:
    to = To("/", ("one1", "two1"))
    assert pair.one.ask(lambda ref: v1.Join(ref, to, ("a", "b"))) == [v1.Done(1, 2)]
    assert pair.rooms("one1") == pair.rooms("two1") == ["a", "b"]
    assert pair.rooms("one2") == pair.rooms("two2") == []
    assert pair.two.heard() == [v1.Moved(pair.numbers["two1"], "/", True, ("a", "b"))]
    pair.one.heard()
    pair.two.say(v1.Leave(5, To("/", ("a",)), ("b", "c")))
    assert pair.two.heard() == [v1.Moved(pair.numbers["two1"], "/", False, ("b", "c")), v1.Done(5, 2)]
    assert pair.one.heard() == [v1.Moved(1, "/", False, ("b", "c"))]
    assert pair.rooms("one1") == pair.rooms("two1") == ["a"]


def test_the_asker_is_told_of_its_own_moved_sockets(pair: Pair) -> None:
    pair.one.say(v1.Join(7, To("/"), ("a",)))
    *moved, done = pair.one.heard()
    assert done == v1.Done(7, 4)
    assert sorted(frame.client for frame in moved) == [1, 2]
    assert {(frame.namespace, frame.joined, frame.rooms) for frame in moved} == {("/", True, ("a",))}
    assert len(pair.two.heard(v1.Moved)) == 2


def test_moves_by_the_rest_api_are_news_too(pair: Pair) -> None:
    connection = pair.clients["two1"]
    groups = (room_group("/", "a"), room_group("/ns", "x"), "some-group", "0~!~!", "0~Lw~\u20ac")
    pair.rig.world.execute(JoinGroups(HUB, Selection(connection=connection.id), groups))
    assert pair.two.heard() == [v1.Moved(pair.numbers["two1"], "/", True, ("a",))]
    pair.rig.world.execute(LeaveGroups(HUB, Selection(connection=connection.id), None))
    assert pair.two.heard() == [v1.Moved(pair.numbers["two1"], "/", False, ("a",))]
    assert pair.one.heard() == []


def test_too_many_rooms_for_one_client() -> None:
    pair = Pair(limits=EdgeLimits(max_groups=5))
    (failed,) = pair.one.ask(lambda ref: v1.Enter(ref, 1, "/", tuple("abcd")))
    assert (failed.reason, failed.number) == ("too-many-groups", 2010)
    assert pair.rooms("one1") == []
    # One of many who has too many already: nobody joins.
    pair.one.ask(lambda ref: v1.Enter(ref, 1, "/", tuple("abc")))
    (failed,) = pair.two.ask(lambda ref: v1.Join(ref, To("/"), ("d",)))
    assert failed.reason == "too-many-groups"
    assert pair.rooms("two1") == []


@pytest.mark.parametrize("close", [False, True])
def test_sockets_of_all_app_servers_are_disconnected(pair: Pair, close: bool) -> None:
    to = To("/", ("one1", "two1", "nobody"))
    pair.one.say(v1.Disconnect(3, to, close))
    assert {(type(f).__name__, getattr(f, "client", 0)) for f in pair.one.heard()} == {
        ("Left", 1), ("Done", 0), *([("Closed", 1)] if close else []),
    }  # fmt: skip
    assert [type(frame) for frame in pair.two.heard()] == [v1.Left, *([v1.Closed] if close else [])]
    pair.rig.settle()
    if close:
        assert pair.rig.world.node.connections == 2
    else:
        assert pair.got(b"41") == ["one1", "two1"]
        assert pair.one.ask(lambda ref: v1.Disconnect(ref, to, close)) == [v1.Done(1, 0)]


# -- nonsense ---------------------------------------------------------------------------------------------

LONG = "x" * (MAX_ROOM + 1)
TOO_MANY = ("a",) * (MAX_ROOMS + 1)


def bad(name: str, make: Callable[[int], v1.FromApp], reason: str = "link-bad-request") -> Any:
    """A row of the table below."""
    return pytest.param(make, reason, id=name)


def in_no_namespace(what: str, make: Callable[[str, int], v1.FromApp]) -> list[Any]:
    """Rows for names that no namespace can have."""
    names = {"nameless": "", "no slash": "ns", "too long": "/" + "x" * 512}
    return [bad(f"{what}, {why}", functools.partial(make, name)) for why, name in names.items()]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        *in_no_namespace("emit", lambda name, ref: v1.Emit(ref, To(name), 0, b"42[]")),
        *in_no_namespace("enter", lambda name, ref: v1.Enter(ref, 1, name, ("a",))),
        *in_no_namespace("tell", lambda name, ref: v1.Tell(ref, name, 9, b'42["x"]')),
        *in_no_namespace("fetch", lambda name, ref: v1.Fetch(ref, To(name), 9)),
        bad("nameless room", lambda ref: v1.Enter(ref, 1, "/", ("",))),
        bad("long room", lambda ref: v1.Exit(ref, 1, "/", (LONG,))),
        bad("to a nameless room", lambda ref: v1.Emit(ref, To("/", ("a", "")), 0, b"42[]")),
        bad("but a nameless room", lambda ref: v1.Emit(ref, To("/", (), ("",)), 0, b"42[]")),
        bad("join of none", lambda ref: v1.Join(ref, To("/"), ("a", ""))),
        bad("leave the namespace", lambda ref: v1.Leave(ref, To("/"), ("",))),
        bad("too many rooms", lambda ref: v1.Emit(ref, To("/", TOO_MANY), 0, b"42[]")),
        bad("too many to leave out", lambda ref: v1.Emit(ref, To("/", (), TOO_MANY), 0, b"42[]")),
        bad("no base64", lambda ref: v1.Emit(ref, To("/"), 0, b"451-[]\x1eb!"), "bad-packet"),
        bad("no utf-8", lambda ref: v1.Emit(ref, To("/"), 0, b'42["\xff"]'), "bad-utf8"),
        bad("no event", lambda ref: v1.Ask(ref, To("/"), 0, 9, b"40"), "api-bad-payload"),
        bad("an ack id", lambda ref: v1.Ask(ref, To("/"), 0, 9, b"421[]"), "api-bad-payload"),
        bad("no packet", lambda ref: v1.Ask(ref, To("/"), 0, 9, b""), "bad-socketio-packet"),
        bad("told no event", lambda ref: v1.Tell(ref, "/", 9, b"430[]"), "api-bad-payload"),
        bad("a second hello", lambda ref: v1.AppHello(1, "x", "", 0, 1 << 20)),
    ],
)  # fmt: skip
def test_a_frame_that_cannot_be_carried_out_is_answered_and_harms_nothing(
    pair: Pair, make: Callable[[int], v1.FromApp], reason: str
) -> None:
    before = pair.rig.world.metrics.refusals["link", reason]
    pair.one.say(make(77))
    (failed,) = pair.one.heard()
    assert isinstance(failed, v1.Failed)
    assert (failed.ref, failed.reason) == (getattr(make(77), "ref", 0), reason)
    assert failed.message
    assert pair.rig.world.metrics.refusals["link", reason] == before + 1
    # The link, its clients and all else go on.
    pair.one.say(v1.Emit(0, To("/"), 0, b'42["still here"]'))
    assert len(pair.got(b'42["still here"]')) == 4
    assert pair.two.heard() == []
    assert not pair.rig.hub.waits


def test_a_packet_that_cannot_be_encoded_is_a_failure_without_a_number(pair: Pair) -> None:
    pair.one.say(v1.Packet(1, b"451-[]\x1eb!"), v1.Packet(1, b"42[1]"))
    (failed,) = pair.one.heard()
    assert (failed.ref, failed.reason) == (0, "bad-packet")
    assert pair.got(b"42[1]") == ["one1"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: v1.Ask(0, To("/"), 0, 9, b'42["q"]'),
        lambda: v1.Fetch(0, To("/"), 9),
        lambda: v1.Tell(0, "/", 9, b'42["q"]'),
    ],
)
def test_a_question_needs_a_number(pair: Pair, make: Callable[[], v1.FromApp]) -> None:
    pair.one.say(make())
    (failed,) = pair.one.heard()
    assert (failed.ref, failed.reason) == (0, "link-bad-request")
    assert not pair.rig.hub.waits


def test_open_questions_are_bounded(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    assert MAX_OPEN == 10_000
    monkeypatch.setattr(dispatcher, "MAX_OPEN", 3)
    for _ in range(3):
        pair.one.ask(lambda ref: v1.Ask(ref, To("/"), 0, 1_000, b'42["q"]'))
    (failed,) = pair.one.ask(lambda ref: v1.Ask(ref, To("/"), 0, 1_000, b'42["q"]'))
    assert failed.reason == "link-bad-request"
    pair.rig.after(1.5)
    assert len(pair.one.heard(v1.Done)) == 3
    assert pair.one.ask(lambda ref: v1.Ask(ref, To("/"), 0, 1_000, b'42["q"]')) == [v1.Asked(5, 4)]


def test_a_defect_of_ours_is_answered_and_ends_nothing(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pair.rig.world.node, "carry_out", broken)
    (failed,) = pair.one.ask(lambda ref: v1.Emit(ref, To("/"), 0, b"42[]"))
    assert failed.reason == "internal"
    (failed,) = pair.one.ask(lambda ref: v1.Fetch(ref, To("/"), 9))
    assert failed.reason == "internal"
    monkeypatch.undo()
    assert pair.one.ask(lambda ref: v1.Emit(ref, To("/"), 0, b"42[]")) == [v1.Done(3, 4)]


def test_a_join_is_done_when_it_is_in_effect_on_all_nodes(pair: Pair) -> None:
    one, number = pair.one, pair.numbers["one1"]
    cluster = pair.rig.world.node.cluster = RecordingCluster()
    assert one.ask(lambda ref: v1.Enter(ref, number, "/", ("a",))) == []
    assert one.ask(lambda ref: v1.Join(ref, To("/"), ("a",))) == []
    assert one.ask(lambda ref: v1.Emit(ref, To("/"), 0, b"42[]")) == [v1.Done(3, 4)]
    assert one.ask(lambda ref: v1.Fetch(ref, To("/", ("nobody",)), 9))[-1] == v1.Done(4, 0)
    cluster.replies[0](Outcome(reached=1, missing=("a late node",)))
    cluster.replies[1](PeerError(TOO_MANY_GROUPS))
    done, failed = one.heard(v1.Done, v1.Failed)
    assert done == v1.Done(1, 1, ("a late node",))
    assert (failed.ref, failed.reason) == (2, "too-many-groups")


def test_polling_clients_hear_all_the_same() -> None:
    rig = Rig()
    app = rig.app()
    _, connection = app.client("/", framed=False)
    sink = sink_of(connection)
    assert isinstance(sink, PollingSink)
    sink.poll()
    app.say(v1.Emit(1, To("/"), 0, b"42[1]"), v1.Packet(1, b"42[2]"))
    assert app.heard() == [v1.Done(1, 1)]
    sink.poll()
    assert sink.packets[-2:] == [b"42[1]", b"42[2]"]


def test_the_handlers_cover_every_frame() -> None:
    app: App = Rig().app()
    reader = app.rig.sessions._sessions[HUB, app.id][1]
    assert set(reader._dispatcher._handlers) == set(v1.FromApp.__args__)


def test_the_data_of_a_socket_that_is_not_parked_is_ignored(pair: Pair) -> None:
    pair.one.say(v1.Save("/", "unknown", b"{}"), v1.List(1))
    assert [type(frame) for frame in pair.one.heard()] == [v1.Servers]


def test_a_repeated_fault_is_logged_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    nameless, long = v1.Enter(1, 1, "/", ("",)), v1.Packet(1, b"451-[]\x1eb!")
    for _ in range(100):
        pair.one.say(nameless, long)
    assert len(pair.one.heard(v1.Failed)) == 200
    lines = [record.msg for record in caplog.records if "frame refused" in str(record.msg)]
    assert len(lines) == 2
