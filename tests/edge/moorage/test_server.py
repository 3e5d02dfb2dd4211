"""A session of the moorage dialect: the lives of its clients."""

from __future__ import annotations

import msgspec
import pytest

from moorage.edge.moorage.causes import cause_of
from moorage.edge.settings import LinkSettings
from moorage.wire.commands import CloseConnections, LeaveNamespace, Selection
from moorage.wire.groups import namespace_group
from moorage.wire.handshake import Origin
from moorage.wire.moorage import v1
from moorage.wire.reasons import CATALOGUE, CLIENT_CLOSED, DRAINING, Reason
from tests.edge.moorage.rig import STEP, TERMS, Rig, closed, say
from tests.hub.fakes import HUB, RecordingOpening, sink_of

# -- a client's life --------------------------------------------------------------------------------------


def test_a_client_is_asked_for_taken_and_heard() -> None:
    rig = Rig()
    app = rig.app()
    number, connection, opening = app.opening(user_id="ada")
    assert not opening.accepts
    app.say(v1.Opened(number, 5_000, 4_000, 1_000))
    ((accepted, terms),) = opening.accepts
    assert accepted is connection
    assert (terms.ping_interval, terms.ping_timeout, terms.max_payload) == (5_000, 4_000, 1_000)
    say(rig, connection, b"40", b'42["hi"]', b'42["again"]')
    assert [frame.payload for frame in app.heard(v1.Packet)] == [b"40", b'42["hi"]', b'42["again"]']
    say(rig, connection, b"1")
    assert closed(app) == [(number, "client-closed", "transport close")]
    assert app.server.numbered.own == {}


@pytest.mark.repair(21)
def test_the_app_server_is_told_of_an_upgrade_if_it_knows_the_frame() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client()
    rig.world.node.upgraded(connection)
    assert app.heard() == [v1.Upgraded(number, "websocket")]
    app.cut()
    app.dial(app.hello.session, revision=1)
    rig.world.node.upgraded(connection)
    assert app.heard(v1.Upgraded) == []


def test_numbers_are_not_used_again() -> None:
    rig = Rig()
    app = rig.app()
    numbers = []
    for _ in range(3):
        number, connection = app.client()
        numbers.append(number)
        say(rig, connection, b"1")
    assert numbers == [1, 2, 3]


def test_the_content_of_an_open() -> None:
    rig = Rig()
    app = rig.app()
    rig.world.now += 5.0
    rig.world.open(
        RecordingOpening(),
        user_id="ada",
        claims={"role": ["admin"]},
        origin=lambda: Origin("/socket.io/?EIO=4&x=1", "192.0.2.1"),
        secure=True,
    )
    (frame,) = app.heard(v1.Open)
    assert (frame.id, frame.user) == ("c0001", "ada")
    assert msgspec.json.decode(frame.handshake) == {
        "headers": {},
        "query": {},
        "claims": {"role": ["admin"]},
        "url": "/socket.io/?EIO=4&x=1",
        "address": "192.0.2.1",
        "secure": True,
        "issued": (1_700_000_000 + 1_005) * 1000,
    }


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [(400, "app-refused", 400), (403, "app-refused", 403), (500, "app-error", 500), (0, "app-error", 502)],
)
def test_it_is_refused(status: int, reason: str, told: int) -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(v1.Refused(number, status, "no" * 1000))
    assert [(r.name, r.http, len(text)) for r, text in opening.refusals] == [(reason, told, 1_000)]
    assert app.heard() == [], "there is nothing to end"
    assert (app.server.numbered.own, app.server.openings, rig.world.node.connections) == ({}, {}, 0)


def test_the_app_server_does_not_answer() -> None:
    rig = Rig(links=LinkSettings(connect_timeout=10.0))
    app = rig.app()
    number, _, opening = app.opening()
    rig.after(10.0 - STEP)
    assert opening.refusals == []
    app.ack()
    rig.after(STEP)
    assert [refused.name for refused, _ in opening.refusals] == ["connect-timeout"]
    assert closed(app) == [(number, "connect-timeout", "transport close")]
    # Its answer was under way; it has been told already.
    app.say(v1.Opened(number, *TERMS), v1.Packet(number, b"2"), v1.Enter(7, number, "/", ("r",)))
    assert app.heard() == [v1.Done(7, 0)]
    assert not opening.accepts


def test_a_client_that_goes_while_it_is_asked_for() -> None:
    rig = Rig()
    app = rig.app()
    for answer in (v1.Opened(1, *TERMS), v1.Refused(2, 403, "no")):
        number, connection, opening = app.opening()
        rig.world.node.abandon(connection)
        app.say(answer)
        # An app server that has taken it hears of the end, one that has not hears nothing.
        expected = [(1, "transport-lost", "transport close")] if number == 1 else []
        assert closed(app) == expected
        assert not (opening.accepts or opening.refusals)
    assert (app.server.numbered.own, app.server.openings) == ({}, {})


@pytest.mark.parametrize("number", [0, 2, 2**53 - 1])
def test_answers_about_clients_that_never_were(number: int) -> None:
    rig = Rig()
    app = rig.app()
    app.opening()
    for frame in (v1.Opened(number, *TERMS), v1.Refused(number, 400, "")):
        app.say(frame)
        (failed,) = app.heard()
        assert isinstance(failed, v1.Failed) and failed.reason == "link-bad-request"


def test_a_second_answer_harms_nobody() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    for again in (v1.Opened(number, *TERMS), v1.Refused(number, 400, "")):
        app.say(again)
        assert [type(frame) for frame in app.heard()] == [v1.Failed]
    say(rig, connection, b'42["still here"]', b"1")
    assert [type(frame) for frame in app.heard()] == [v1.Packet, v1.Closed]


@pytest.mark.parametrize("terms", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_terms_that_make_no_sense(terms: tuple[int, int, int]) -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(v1.Opened(number, *terms))
    assert [type(frame) for frame in app.heard()] == [v1.Failed]
    assert [refused.name for refused, _ in opening.refusals] == ["app-error"]
    app.say(v1.Opened(number, *TERMS))
    assert app.heard() == [], "its answer was taken, for what it was worth"


def test_a_close_instead_of_an_answer() -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(v1.Close(number))
    assert [refused.name for refused, _ in opening.refusals] == ["app-refused"]
    assert closed(app) == [(number, "app-closed", "forced server close")]
    rig.after(60.0)
    assert closed(app) == []


def test_every_client_has_one_end_whoever_wants_it() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    app.say(v1.Close(number))
    say(rig, connection, b"1")
    rig.world.execute(CloseConnections(HUB, Selection(connection=connection.id)))
    app.say(v1.Close(number), v1.Packet(number, b"1"))
    assert closed(app) == [(number, "app-closed", "forced server close")]


def test_a_packet_never_follows_the_end() -> None:
    rig = Rig()
    app = rig.app()
    _number, connection = app.client("/")
    say(rig, connection, b'42["last"]', b"9 is no packet", b'42["too late"]')
    frames = app.heard()
    assert [type(frame) for frame in frames] == [v1.Packet, v1.Closed]
    assert frames[1].cause == "parse error"


def test_an_acceptance_while_the_service_stops() -> None:
    rig = Rig()
    app = rig.app()
    number, _connection, opening = app.opening()
    rig.world.node.draining = True
    app.say(v1.Opened(number, *TERMS))
    assert closed(app) == [(number, "draining", "server shutting down")]
    assert [refused.name for refused, _ in opening.refusals] == ["draining"]


CAUSES = {
    "transport close", "ping timeout", "parse error", "forced close", "transport error",
    "forced server close", "server shutting down",
}  # fmt: skip


@pytest.mark.parametrize("reason", CATALOGUE.values(), ids=CATALOGUE)
def test_every_end_has_a_cause_in_socketios_words(reason: Reason) -> None:
    assert cause_of(reason) in CAUSES


@pytest.mark.parametrize(
    ("packets", "reason", "cause"),
    [
        ([b"7"], "bad-packet", "parse error"),
        ([b"b!"], "bad-packet", "parse error"),
        ([b"4{"], "bad-socketio-packet", "forced close"),
        ([b"451-[]", b"42[]"], "missing-attachment", "forced close"),
        ([b"bAAAA"], "unexpected-binary", "forced close"),
        ([b"4599-[]"], "too-many-attachments", "forced close"),
        ([b"42\xff"], "bad-utf8", "transport error"),
        ([b"4" * 1_000_001], "payload-too-large", "transport error"),
        ([b"40"], "duplicate-connect", "forced server close"),
        ([b"1"], "client-closed", "transport close"),
    ],
)  # fmt: skip
def test_causes_as_socketio_has_them(packets: list[bytes], reason: str, cause: str) -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    say(rig, connection, *packets)
    assert closed(app) == [(number, reason, cause)]


# -- what others do ---------------------------------------------------------------------------------------


def test_others_take_its_sockets_out_of_a_namespace() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/", "/ns")
    rig.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/ns")), "/ns"))
    assert app.heard() == [v1.Left(number, "/ns")]
    rig.world.settle()
    assert sink_of(connection).packets[-1] == b"41/ns,"
    rig.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/")), "/", close=True))
    assert [type(frame) for frame in app.heard()] == [v1.Left, v1.Closed]


def test_the_sockets_of_a_connection_end_before_it() -> None:
    """As natively: a client that was not told would come back to its other namespaces."""
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/", "/a", "/b")
    sink = sink_of(connection)
    rig.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/a")), "/a", close=True))
    *lefts, closed = app.heard()
    assert lefts == [v1.Left(number, name) for name in ("/a", "/", "/b")]
    assert (closed.client, closed.cause) == (number, "forced server close")
    rig.world.settle()
    assert [packet for packet in sink.packets if packet.startswith(b"41")] == [b"41/a,", b"41", b"41/b,"]


def test_nothing_is_sent_to_a_session_that_is_over() -> None:
    rig = Rig()
    app = rig.app()
    _, connection = app.client("/")
    server = app.server
    app.cut()
    rig.after(10.0)
    assert server.over
    waiting = server.out.waiting
    server.queue(v1.Done(1, 1))
    server.queue_slowly(iter([v1.encode_frame(v1.Done(1, 1))]))
    server.closed(connection, CLIENT_CLOSED)
    server.moved(connection, "/", ("r",), joined=True)
    server.left(connection, "/")
    server.query(1, "/", ())
    server.told(1, "s2", "/", b"")
    server.flush()
    server.give_up()
    assert server.out.waiting == waiting
    assert not server._answers.busy


# -- the service stops ------------------------------------------------------------------------------------


def test_a_stop_sends_what_is_queued_and_the_reason() -> None:
    rig = Rig()
    app = rig.app()
    _number, connection = app.client("/")
    rig.sessions.drain(7.5)
    rig.world.node.disconnect(connection, DRAINING, who="service")
    rig.sessions.close()
    app.read()
    assert [type(frame) for frame in app.frames] == [v1.Drain, v1.Closed]
    assert app.frames[0] == v1.Drain(7.5)
    assert app.line.closed == [DRAINING]
