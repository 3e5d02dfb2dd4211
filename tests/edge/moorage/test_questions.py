"""Questions of app servers that many answer, or the service itself: acks, sockets, each other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moorage.edge.moorage.frames import answers, dispatcher
from moorage.edge.moorage.frames.dispatcher import MAX_BACKLOG
from moorage.edge.settings import EdgeLimits
from moorage.hub.hub import Connection
from moorage.wire.commands import Found, Outcome
from moorage.wire.moorage import v1
from moorage.wire.moorage.listing import SharedHeaders
from moorage.wire.moorage.v1 import To
from tests.edge.moorage.rig import Pair, Rig
from tests.hub.fakes import RecordingOpening, heard


@pytest.fixture
def pair() -> Pair:
    """A fleet of two."""
    return Pair()


def ack_of(connection: Connection) -> bytes:
    """The ack id of the last question that a client got."""
    packet = heard(connection)[-1]
    return packet[2 : packet.index(b"[")]


def test_an_ask(pair: Pair) -> None:
    assert pair.one.ask(lambda ref: v1.Ask(ref, To("/"), 0, 2_000, b'42["q"]')) == [v1.Asked(1, 4)]
    pair.rig.settle()
    ack = ack_of(pair.clients["two1"])
    for sid in ("two1", "one2"):
        pair.rig.world.node.receive(pair.clients[sid], b'43%b["%b"]' % (ack, sid.encode()))
    assert pair.one.heard() == [
        v1.Answer(1, "two1", b'43%b["two1"]' % ack),
        v1.Answer(1, "one2", b'43%b["one2"]' % ack),
    ]
    assert pair.two.heard() == []
    pair.rig.after(2.5)
    (done,) = pair.one.heard(v1.Done)
    assert (done.ref, done.count, sorted(done.missing)) == (1, 2, ["one1", "two2"])


def test_a_question_without_anyone_to_ask(pair: Pair) -> None:
    answer = pair.one.ask(lambda ref: v1.Ask(ref, To("/", ("nobody",)), 0, 2_000, b'42["q"]'))
    assert answer == [v1.Asked(1, 0), v1.Done(1, 0)]


def test_only_its_own_are_asked(pair: Pair) -> None:
    answer = pair.one.ask(lambda ref: v1.Ask(ref, To("/"), v1.LOCAL, 2_000, b'42["q"]'))
    assert answer == [v1.Asked(1, 2)]


def test_answers_come_after_a_cut(pair: Pair) -> None:
    pair.one.ask(lambda ref: v1.Ask(ref, To("/", ("one1",)), 0, 20_000, b'42["q"]'))
    pair.rig.settle()
    ack = ack_of(pair.clients["one1"])
    pair.one.cut()
    pair.rig.world.node.receive(pair.clients["one1"], b"43%b[]" % ack)
    pair.one.back()
    assert [type(frame) for frame in pair.one.heard()] == [v1.Answer, v1.Done]


def test_a_fetch(pair: Pair) -> None:
    pair.two.say(v1.Enter(0, pair.numbers["two1"], "/", ("a",)))
    frames = pair.one.ask(lambda ref: v1.Fetch(ref, To("/"), 2_000))
    *sockets, asked = frames
    assert asked == v1.Asked(1, 1)
    servers = {row.id: frame.servers[row.server] for frame in sockets for row in frame.rows}
    assert servers == {"one1": "one", "one2": "one", "two1": "two", "two2": "two"}
    rows = {row.id: row for frame in sockets for row in frame.rows}
    assert rows["two1"].rooms == ("a",)
    assert rows["one1"].connection == pair.clients["one1"].id
    assert rows["one1"].handshake == b"{}", "the asker was told when the client came"
    assert set(msgspec.json.decode(rows["two1"].handshake)) == {
        "headers", "query", "claims", "url", "address", "secure", "issued",
    }  # fmt: skip
    (query,) = pair.two.heard()
    assert isinstance(query, v1.Query)
    assert (query.namespace, sorted(query.sockets)) == ("/", ["two1", "two2"])
    pair.two.say(v1.Facts(query.ref, ()))
    (failed,) = pair.two.heard()
    assert (failed.ref, failed.reason) == (query.ref, "link-bad-request")
    chunks = (v1.Chunk(2, b'[{"data":{"n":1}},{}]'),)
    pair.two.say(v1.Facts(query.ref, chunks))
    assert pair.one.heard() == [v1.Data(1, "two", chunks), v1.Done(1, 1)]


def test_an_incomplete_answer_counts_as_missing(pair: Pair) -> None:
    pair.one.ask(lambda ref: v1.Fetch(ref, To("/"), 1_000))
    (query,) = pair.two.heard()
    chunks = (v1.Chunk(1, b"[{}]"),)
    pair.two.say(v1.Facts(query.ref, chunks))
    pair.rig.after(1.5)
    assert pair.one.heard() == [v1.Data(1, "two", chunks), v1.Done(1, 0, ("two",))]


def test_a_fetch_of_the_others(pair: Pair) -> None:
    sockets, _ = pair.one.ask(lambda ref: v1.Fetch(ref, To("/"), 2_000, True))
    assert (sockets.servers, sorted(row.id for row in sockets.rows)) == (("two",), ["two1", "two2"])


def test_a_slow_app_server_is_named_and_fails_nobody(pair: Pair) -> None:
    pair.one.ask(lambda ref: v1.Fetch(ref, To("/"), 1_000))
    pair.two.cut()
    pair.rig.after(1.5)
    assert pair.one.heard() == [v1.Done(1, 0, ("two",))]
    pair.two.back()
    (query,) = pair.two.heard(v1.Query)
    pair.two.say(v1.Facts(query.ref, ()))
    assert pair.two.heard() == [] and pair.one.heard() == []
    assert pair.rig.world.node.late_answers == 1


def test_a_large_fetch_comes_in_pieces_and_before_the_answers() -> None:
    rig = Rig(limits=EdgeLimits(outbox_bytes_link=1 << 20))
    one, two = rig.app("one", window=64 * 1024), rig.app("two")
    long = {"n": ["x" * 2_000]}
    for _ in range(500):
        two.client("/", claims=long)
    two.ack()
    one.say(v1.Fetch(1, To("/"), 20_000), v1.Emit(2, To("/", ("nobody",)), 0, b"42[1]"))
    (query,) = two.heard(v1.Query)
    two.say(v1.Facts(query.ref, (v1.Chunk(500, b"[]"),)))
    frames: list[Any] = []
    while not any(isinstance(frame, v1.Done) and frame.ref == 1 for frame in frames):
        frames += one.heard()
        assert one.server.out.waiting < 1 << 20
        one.ack()
    mine = [frame for frame in frames if frame.ref == 1]
    *rows, asked, data, done = mine
    assert [type(frame) for frame in (asked, data, done)] == [v1.Asked, v1.Data, v1.Done]
    assert len(rows) == 8, "128 KiB each, and what is left"
    assert len({row.id for frame in rows for row in frame.rows}) == 500
    assert not one.server.over


def test_rows_that_are_packed_already_take_few_steps() -> None:
    headers = SharedHeaders()
    found = [
        [Found("/", f"{part}-{n}", "c", None, 1, (), b'{"headers":{"host":["h"]}}') for n in range(50)]
        for part in range(30)
    ]
    outcome = Outcome(sockets={"two": found})
    first = list(answers.answer_frames(1, outcome, headers))
    assert (len(first), first.count(None)) == (30 + 1, 30 - 1), "a step for each few rows, two frames"
    again = list(answers.answer_frames(1, outcome, headers))
    assert again == [made for made in first if made is not None]
    assert [made[0] for made in again if made is not None] == [1_000, 500]
    found[12][20].packed = None
    again = list(answers.answer_frames(1, outcome, headers))
    assert [made is None for made in again] == [True, False, False], "rows were packed"


def test_answers_that_an_app_server_does_not_take_are_bounded(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    assert MAX_BACKLOG == 1_000_000
    monkeypatch.setattr(dispatcher, "MAX_BACKLOG", 5)
    monkeypatch.setattr(answers, "ROWS", 2)
    monkeypatch.setattr(answers, "AT_ONCE", 2)
    pair.one.line.pause_writing()
    for ref in range(1, 5):
        pair.one.say(v1.Fetch(ref, To("/"), 0))
    pair.one.line.resume_writing()
    frames = pair.one.heard(v1.Failed, v1.Asked)
    assert [(frame.ref, type(frame)) for frame in frames] == [
        (3, v1.Failed), (4, v1.Failed), (1, v1.Asked), (2, v1.Asked),
    ]  # fmt: skip
    assert frames[0].reason == "link-overflow"
    pair.one.say(v1.Fetch(5, To("/"), 0))
    assert [frame.ref for frame in pair.one.heard(v1.Sockets)] == [5, 5]


def test_app_servers_tell_each_other(pair: Pair) -> None:
    pair.one.say(v1.Tell(0, "/ns", 0, b'42/ns,["x"]'))
    assert pair.two.heard() == [v1.Told(0, "one", "/ns", b'42/ns,["x"]')]
    assert pair.one.ask(lambda ref: v1.Tell(ref, "/", 0, b'42["y"]')) == []
    pair.two.heard()
    assert pair.one.ask(lambda ref: v1.Tell(ref, "/", 1_000, b'42["q"]')) == [v1.Asked(2, 1)]
    (told,) = pair.two.heard()
    assert told.ref != 0
    pair.two.say(v1.Reply(told.ref, b"430[7]"), v1.Reply(told.ref, b"430[8]"))
    assert pair.one.heard() == [v1.Answer(2, "two", b"430[7]"), v1.Done(2, 1)]


def test_an_app_server_without_the_namespace_is_not_waited_for(pair: Pair) -> None:
    pair.one.ask(lambda ref: v1.Tell(ref, "/admin", 1_000, b'42/admin,["q"]'))
    (told,) = pair.two.heard()
    pair.two.say(v1.Reply(told.ref, b""), v1.Reply(told.ref, b""))
    assert pair.one.heard() == [v1.Done(1, 0)]
    assert pair.rig.world.node.late_answers == 1


@pytest.mark.repair(2)
def test_an_answer_of_the_wrong_kind_reaches_nobody(pair: Pair) -> None:
    """The asker could not read it: a packet where it expects rows would end its link."""
    pair.one.say(v1.Fetch(1, To("/"), 1_000), v1.Tell(2, "/", 1_000, b'42["q"]'))
    query, told = pair.two.heard()
    pair.one.heard()
    pair.rig.hub.questions._next += 10
    pair.two.say(
        v1.Facts(told.ref + 1, ()),
        v1.Reply(query.ref + 1, b"430[]"),
        v1.Reply(told.ref, b'42["no ack"]'),
        v1.Reply(told.ref, b"430[\xff]"),
        v1.Reply(told.ref, b"3"),
        v1.Reply(told.ref, b"430[]\x1e41"),
        v1.Reply(told.ref, b"461-0[]"),
    )
    assert [type(frame) for frame in pair.two.heard()] == [v1.Failed] * 5
    assert pair.one.heard() == []
    pair.rig.after(1.5)
    assert sorted(pair.one.heard(), key=lambda frame: frame.ref) == [
        v1.Done(1, 0, ("two",)),
        v1.Done(2, 0, ("two",)),
    ]


def test_an_app_server_that_is_given_up_leaves_no_questions_behind(pair: Pair) -> None:
    for make in (
        lambda ref: v1.Ask(ref, To("/"), 0, 100_000, b'42["q"]'),
        lambda ref: v1.Fetch(ref, To("/"), 100_000),
        lambda ref: v1.Tell(ref, "/", 100_000, b'42["q"]'),
    ):
        pair.one.ask(make)
    hub = pair.rig.hub
    assert (len(hub.invocations), len(hub.queries), len(hub.questions)) == (1, 1, 1)
    pair.one.cut()
    pair.rig.after(7.0)
    assert not hub.waits


def test_an_abandoned_question_does_not_keep_a_hub() -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    app.say(v1.Ask(1, To("/"), 0, 100_000, b'42["q"]'))
    assert rig.hub.waits
    app.cut()
    rig.after(7.0)
    assert rig.world.node.hubs == {}


def test_who_is_there(pair: Pair) -> None:
    pair.two.cut()
    (servers,) = pair.one.ask(v1.List)
    assert servers.rows == (
        v1.Server("one", "moorage", True, 2),
        v1.Server("two", "moorage", False, 2),
    )


def test_drain(pair: Pair) -> None:
    for server in pair.rig.hub.servers.all():
        server.draining = False
    pair.one.say(v1.Drain(30.0))
    for _ in range(5):
        pair.rig.world.open(RecordingOpening())
    assert len(pair.two.heard(v1.Open)) == 5
    assert pair.one.heard(v1.Open) == []
