"""A session of the moorage dialect: its clients' lives, what waits for the app server, and time."""

from __future__ import annotations

import functools

import msgspec
import pytest
from picows import WSMsgType

from moorage.edge.moorage_server import GATHERED, cause_of
from moorage.hub.connection import Connection
from moorage.hub.settings import Limits, LinkSettings
from moorage.wire import tunnel
from moorage.wire.commands import CloseConnections, LeaveNamespace, Selection
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.reasons import CATALOGUE, CLIENT_CLOSED, DRAINING, LINK_SILENT, LINK_SLOW, Reason
from tests.edge.moorage_rig import STEP, TERMS, App, Rig
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink, sink_of

MIB = 1024 * 1024


def say(rig: Rig, connection: Connection, *packets: bytes) -> None:
    """A client's packets."""
    for packet in packets:
        rig.world.node.receive(connection, packet)


def closed(app: App) -> list[tuple[int, str, str]]:
    """The ends that the app server has heard of."""
    return [(frame.client, frame.reason, frame.cause) for frame in app.heard(tunnel.Closed)]


def ends(rig: Rig) -> list[str]:
    """Why clients were closed."""
    return [reason for _, reason, *_ in rig.world.logged]


# -- a client's life --------------------------------------------------------------------------------------


def test_a_client_is_asked_for_taken_and_heard() -> None:
    rig = Rig()
    app = rig.app()
    number, connection, opening = app.opening(user_id="ada", url="/socket.io/?EIO=4", address="192.0.2.1")
    assert not opening.accepts
    app.say(tunnel.Opened(number, 5_000, 4_000, 1_000))
    ((accepted, terms),) = opening.accepts
    assert accepted is connection
    assert (terms.ping_interval, terms.ping_timeout, terms.max_payload) == (5_000, 4_000, 1_000)
    say(rig, connection, b"40", b'42["hi"]', b'42["again"]')
    assert [frame.payload for frame in app.heard(tunnel.Packet)] == [b"40", b'42["hi"]', b'42["again"]']
    say(rig, connection, b"1")
    assert closed(app) == [(number, "client-closed", "transport close")]
    assert app.server.clients == {}


def test_numbers_are_not_used_again() -> None:
    rig = Rig()
    app = rig.app()
    numbers = []
    for _ in range(3):
        number, connection = app.client()
        numbers.append(number)
        say(rig, connection, b"1")
    assert numbers == [1, 2, 3]


def test_what_an_open_carries() -> None:
    rig = Rig()
    app = rig.app()
    rig.world.now += 5.0
    rig.world.open(
        RecordingOpening(),
        user_id="ada",
        claims={"role": ["admin"]},
        url="/socket.io/?EIO=4&x=1",
        address="192.0.2.1",
        secure=True,
    )
    (frame,) = app.heard(tunnel.Open)
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
    ("status", "reason"), [(400, "app-refused"), (403, "app-refused"), (500, "app-error"), (0, "app-error")]
)
def test_it_is_refused(status: int, reason: str) -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(tunnel.Refused(number, status, "no" * 1000))
    assert [(refused.name, len(text)) for refused, text in opening.refusals] == [(reason, 200)]
    assert app.heard() == [], "there is nothing to end"
    assert (app.server.clients, app.server.openings, rig.world.node.connections) == ({}, {}, 0)


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
    app.say(tunnel.Opened(number, *TERMS), tunnel.Packet(number, b"2"), tunnel.Enter(7, number, "/", ("r",)))
    assert app.heard() == [tunnel.Done(7, 0)]
    assert not opening.accepts


def test_a_client_that_goes_while_it_is_asked_for() -> None:
    rig = Rig()
    app = rig.app()
    for answer in (tunnel.Opened(1, *TERMS), tunnel.Refused(2, 403, "no")):
        number, connection, opening = app.opening()
        rig.world.node.abandon(connection)
        app.say(answer)
        # An app server that has taken it hears of the end, one that has not hears nothing.
        expected = [(1, "transport-lost", "transport close")] if number == 1 else []
        assert closed(app) == expected
        assert not (opening.accepts or opening.refusals)
    assert (app.server.clients, app.server.openings) == ({}, {})


@pytest.mark.parametrize("number", [0, 2, 2**53 - 1])
def test_answers_about_clients_that_never_were(number: int) -> None:
    rig = Rig()
    app = rig.app()
    app.opening()
    for frame in (tunnel.Opened(number, *TERMS), tunnel.Refused(number, 400, "")):
        app.say(frame)
        (failed,) = app.heard()
        assert isinstance(failed, tunnel.Failed) and failed.reason == "link-bad-request"


def test_a_second_answer_harms_nobody() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    for again in (tunnel.Opened(number, *TERMS), tunnel.Refused(number, 400, "")):
        app.say(again)
        assert [type(frame) for frame in app.heard()] == [tunnel.Failed]
    say(rig, connection, b'42["still here"]', b"1")
    assert [type(frame) for frame in app.heard()] == [tunnel.Packet, tunnel.Closed]


@pytest.mark.parametrize("terms", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_terms_that_make_no_sense(terms: tuple[int, int, int]) -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(tunnel.Opened(number, *terms))
    assert [type(frame) for frame in app.heard()] == [tunnel.Failed]
    assert [refused.name for refused, _ in opening.refusals] == ["app-error"]
    app.say(tunnel.Opened(number, *TERMS))
    assert app.heard() == [], "its answer was taken, for what it was worth"


def test_a_close_instead_of_an_answer() -> None:
    rig = Rig()
    app = rig.app()
    number, _, opening = app.opening()
    app.say(tunnel.Close(number))
    assert [refused.name for refused, _ in opening.refusals] == ["app-refused"]
    assert closed(app) == [(number, "app-closed", "forced server close")]
    rig.after(60.0)
    assert closed(app) == []


def test_every_client_has_one_end_whoever_wants_it() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    app.say(tunnel.Close(number))
    say(rig, connection, b"1")
    rig.world.execute(CloseConnections(HUB, Selection(connection=connection.id)))
    app.say(tunnel.Close(number), tunnel.Packet(number, b"1"))
    assert closed(app) == [(number, "app-closed", "forced server close")]


def test_a_packet_never_follows_the_end() -> None:
    rig = Rig()
    app = rig.app()
    _number, connection = app.client("/")
    say(rig, connection, b'42["last"]', b"9 is no packet", b'42["too late"]')
    frames = app.heard()
    assert [type(frame) for frame in frames] == [tunnel.Packet, tunnel.Closed]
    assert frames[1].cause == "parse error"


def test_an_acceptance_while_the_service_stops() -> None:
    rig = Rig()
    app = rig.app()
    number, _connection, opening = app.opening()
    rig.world.node.draining = True
    app.say(tunnel.Opened(number, *TERMS))
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


# -- the link breaks --------------------------------------------------------------------------------------


def test_what_happens_while_the_link_is_down_waits_in_order() -> None:
    rig = Rig()
    app = rig.app()
    one, first = app.client("/")
    two, second = app.client("/")
    app.cut()
    say(rig, first, b"42[1]")
    say(rig, second, b"42[2]", b"1")
    say(rig, first, b"42[3]")
    app.back()
    frames = app.heard()
    assert [(type(frame).__name__, frame.client) for frame in frames] == [
        ("Packet", one), ("Packet", two), ("Closed", two), ("Packet", one),
    ]  # fmt: skip
    assert rig.world.metrics.link_resumes == 1


def test_what_was_on_the_link_comes_again_and_only_that() -> None:
    rig = Rig()
    app = rig.app()
    _number, connection = app.client("/")
    say(rig, connection, b"42[1]")
    rig.settle()
    app.read()
    say(rig, connection, b"42[2]")
    rig.settle()
    app.cut()
    say(rig, connection, b"42[3]")
    app.back()
    assert [frame.payload for frame in app.heard(tunnel.Packet)] == [b"42[1]", b"42[2]", b"42[3]"]


def test_what_the_app_server_sent_is_not_done_twice() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    sink_of(connection).writes.clear()
    app.out.queue(tunnel.encode_frame(tunnel.Packet(number, b"42[1]")))
    batch = app.out.take(app.inc.told())
    assert batch is not None
    app.line.feed(batch)
    # The service's acknowledgement was lost: the batch is sent again.
    app.cut()
    app.back()
    app.line.feed(batch)
    app.line.feed(batch)
    app.say(tunnel.Packet(number, b"42[2]"))
    rig.settle()
    assert sink_of(connection).packets == [b"42[1]", b"42[2]"]


def test_without_a_link_it_gets_no_new_clients() -> None:
    rig = Rig()
    app = rig.app()
    app.cut()
    with pytest.raises(PeerError) as caught:
        rig.world.open(RecordingOpening())
    assert caught.value.reason.name == "no-app-server"
    app.back()
    rig.world.open(RecordingOpening())
    assert len(app.heard(tunnel.Open)) == 1


def test_the_grace_time() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    app = rig.app()
    app.client("/")
    _, _, opening = app.opening()
    session = app.hello.session
    app.cut()
    rig.after(5.0)
    assert ends(rig) == []
    rig.after(2 * STEP)
    assert ends(rig) == ["app-lost"]
    assert [refused.name for refused, _ in opening.refusals] == ["no-app-server"]
    assert rig.world.node.hub(HUB) is None
    app.dial(session)
    assert not app.hello.resumed and app.hello.session != session
    assert app.hello.received == 0
    assert app.heard() == []


def test_the_grace_time_begins_anew_with_each_cut() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    app = rig.app()
    app.client("/")
    for _ in range(4):
        app.cut()
        rig.after(4.0)
        app.back()
        assert app.hello.resumed
    assert ends(rig) == []


def test_a_pause_of_our_own_is_nobodys_grace_time() -> None:
    """The machine slept: nobody could have come back meanwhile."""
    rig = Rig(links=LinkSettings(grace=5.0))
    app = rig.app()
    app.client("/")
    app.cut()
    rig.world.now += 3_600.0
    rig.after(2.0)
    app.back()
    assert app.hello.resumed
    assert ends(rig) == []


def test_a_farewell() -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    app.line.feed(b"\x03\xe8bye", WSMsgType.CLOSE)
    assert ends(rig) == ["app-lost"]
    assert rig.world.node.hub(HUB) is None


@pytest.mark.parametrize("data", [b"", b"\x03\xe9", b"\x03\xf3x"])
def test_any_other_close_is_none(data: bytes) -> None:
    rig = Rig()
    app = rig.app()
    app.client("/")
    app.line.feed(data, WSMsgType.CLOSE)
    assert ends(rig) == []
    app.back()
    assert app.hello.resumed


# -- silence ----------------------------------------------------------------------------------------------


def test_keep_alive_and_acknowledgements() -> None:
    rig = Rig(links=LinkSettings(heartbeat=5.0))
    app = rig.app()
    app.read()
    rig.after(5.0)
    assert app.line.writes == [tunnel.encode_batch(0, 0, [])]
    app.read()
    app.say(tunnel.Drain(0.0))
    rig.after(STEP)
    assert app.line.writes == [tunnel.encode_batch(0, 1, [])], "within a second"


def test_what_leaves_anyway_carries_the_acknowledgement() -> None:
    rig = Rig()
    app = rig.app()
    app.read()
    app.say(tunnel.List(1))
    rig.settle()
    ((number, ack, _),) = [tunnel.decode_from_service(data) for data in app.line.writes]
    assert (number, ack) == (1, 1)


def test_an_acknowledgement_is_due_at_a_quarter_of_the_window() -> None:
    rig = Rig(links=LinkSettings(window=64 * 1024))
    app = rig.app()
    number, _connection = app.client("/")
    app.read()
    app.line.writes.clear()
    app.say(tunnel.Packet(number, b"42" + b"x" * 15_000))
    assert app.line.writes == []
    app.say(tunnel.Packet(number, b"42" + b"x" * 2_000))
    assert len(app.line.writes) == 1
    app.read()
    assert app.out.in_flight == 0


def test_an_app_server_that_is_silent_loses_its_link_and_not_its_clients() -> None:
    rig = Rig(links=LinkSettings(heartbeat=2.0))
    app = rig.app()
    app.client("/")
    rig.after(5.0)
    app.ack()
    rig.after(6.0)
    assert app.line.closed == []
    rig.after(2 * STEP)
    assert app.line.closed == [LINK_SILENT]
    assert ends(rig) == []
    app.back()
    assert app.hello.resumed


def test_half_a_message_is_no_silence() -> None:
    """A large one may take longer on a slow line; given up and resumed, it would begin anew for ever."""
    rig = Rig(links=LinkSettings(heartbeat=2.0))
    app = rig.app()
    for _ in range(20):
        rig.after(1.0)
        app.line._heard = True
    assert app.line.closed == []


def test_a_pause_of_our_own_is_nobodys_silence() -> None:
    rig = Rig(links=LinkSettings(heartbeat=2.0))
    app = rig.app()
    rig.after(3.0)
    rig.world.now += 100.0
    rig.after(STEP)
    assert app.line.closed == []
    # What waited in the socket is read now.
    app.ack()
    rig.after(5.0)
    assert app.line.closed == []


# -- credit and pressure ----------------------------------------------------------------------------------


def pressed(
    *,
    window: int = 64 * 1024,
    clients: int = 3,
    limits: Limits | None = None,
    framed: bool = True,
    grace: float = 5.0,
) -> tuple[Rig, App, list[Connection]]:
    """An app server that acknowledges nothing, and clients of it."""
    rig = Rig(links=LinkSettings(max_waiting_bytes=256 * 1024, grace=grace), limits=limits)
    app = rig.app(window=window)
    connections = [app.client("/", framed=framed)[1] for _ in range(clients)]
    app.ack()
    return rig, app, connections


PACKET = b'42["' + b"x" * 4_000 + b'"]'


def fill(rig: Rig, app: App, connection: Connection) -> int:
    """Until the client is held back; how many packets that took."""
    for count in range(1, 1000):
        say(rig, connection, PACKET)
        rig.settle()
        app.read(take=False)
        if not sink_of(connection).reading:
            return count
    raise AssertionError("never held back")


def take_all(rig: Rig, app: App) -> None:
    """The app server comes round."""
    while app.server.out.waiting or app.server.out.in_flight:
        app.heard()
        app.ack()
    rig.settle()


def test_who_speaks_beyond_the_credit_is_held_back() -> None:
    rig, app, (talker, quiet, _) = pressed()
    count = fill(rig, app, talker)
    assert 16 <= count <= 18, "64 KiB, and what crosses the line"
    assert [client.held for client in (talker, quiet)] == [True, False]
    assert sink_of(quiet).reading
    # What is waiting waits here, and comes with the credit.
    app.inc.take_all()
    app.ack()
    rig.settle()
    assert sink_of(talker).reading
    assert [client.held for client in (talker, quiet)] == [False, False]
    app.read()
    assert len([frame for frame in app.frames if isinstance(frame, tunnel.Packet)]) == count


def test_all_are_held_back_before_anybody_is_given_up() -> None:
    rig, app, (talker, quiet, _) = pressed()
    fill(rig, app, talker)
    # What its socket had already taken.
    for _ in range(1_000):
        if not sink_of(quiet).reading:
            break
        say(rig, talker, PACKET)
    assert app.server.out.waiting <= 256 * 1024 // 2 + 2 * len(PACKET)
    assert ends(rig) == []
    assert rig.world.node.connections == 3


def test_who_goes_on_all_the_same_is_given_up() -> None:
    rig, app, (talker, quiet, _) = pressed()
    fill(rig, app, talker)
    for _ in range(256 * 1024 // len(PACKET) + 1):
        say(rig, talker, PACKET)
    assert ends(rig) == ["link-overflow"]
    take_all(rig, app)
    assert sink_of(quiet).reading


def test_what_the_app_server_asked_for_is_not_its_clients_fault() -> None:
    """Answers that wait for credit hold clients back, and close none of them."""
    rig, app, (talker, *_) = pressed()
    big = (b"x" * 20_000).decode()
    for ref in range(1, 40):
        # Each is answered with its own text.
        app.say(tunnel.Emit(ref, tunnel.To("/", ()), 0, b"b!"))
        app.server.queue(tunnel.Failed(ref, 1, "x", big))
    rig.settle()
    assert app.server.out.waiting > 256 * 1024
    for _ in range(10):
        say(rig, talker, PACKET)
    assert ends(rig) == []
    assert not sink_of(talker).reading
    take_all(rig, app)
    assert sink_of(talker).reading


def test_credit_comes_back_after_a_client_that_was_held_has_gone() -> None:
    rig, app, (talker, other, _) = pressed()
    fill(rig, app, talker)
    say(rig, talker, b"1")
    say(rig, other, PACKET)
    assert not sink_of(other).reading
    app.heard()
    app.ack()
    rig.settle()
    assert sink_of(other).reading
    assert app.server._held_bytes == 0


def test_a_burst_of_one_tick_holds_nobody_for_longer() -> None:
    rig = Rig()
    app = rig.app(window=64 * MIB)
    _, talker = app.client("/")
    packet = b'42["' + b"x" * 500_000 + b'"]'
    for _ in range(GATHERED // len(packet) + 2):
        say(rig, talker, packet)
    assert not sink_of(talker).reading
    rig.settle()
    assert sink_of(talker).reading


def test_an_app_server_that_does_not_read() -> None:
    rig, app, (talker, *_) = pressed(window=1 << 22)
    app.line.takes = 1
    count = fill(rig, app, talker)
    assert count <= 2
    app.line.takes = None
    app.line.resume_writing()
    rig.settle()
    assert sink_of(talker).reading
    assert [len(frame.payload) for frame in app.heard(tunnel.Packet)] == [len(PACKET)] * count


def test_without_a_link_clients_are_held_back_at_once() -> None:
    rig, app, (talker, quiet, _) = pressed()
    app.cut()
    say(rig, talker, PACKET)
    assert not sink_of(talker).reading and sink_of(quiet).reading
    app.back()
    rig.settle()
    assert sink_of(talker).reading


def test_a_client_that_changes_its_transport_while_it_is_held_back() -> None:
    rig, app, _ = pressed(clients=0)
    _, client = app.client("/", framed=False)
    app.cut()
    say(rig, client, PACKET)
    assert not sink_of(client).reading
    client.outbox.attach(RecordingSink(), ready=True)
    say(rig, client, PACKET)
    assert not sink_of(client).reading
    app.back()
    rig.settle()
    assert sink_of(client).reading


def test_a_polling_client_waits_for_the_app_server() -> None:
    rig, app, (client, *_) = pressed(framed=False)
    done: list[int] = []
    app.server.drained(client, lambda: done.append(1))
    assert done == [1], "at once, while all is well"
    app.cut()
    # A POST gives up waiting after a second; the next one waits for itself alone.
    for number in (2, 3, 4):
        app.server.drained(client, functools.partial(done.append, number))
    app.back()
    rig.settle()
    assert done == [1, 4]
    app.cut()
    app.server.drained(client, lambda: done.append(5))
    say(rig, client, b"1")
    assert app.server._drains == {}


def test_what_waits_for_an_app_server_that_stays_away_is_let_go() -> None:
    rig, app, (client, *_) = pressed(framed=False, grace=1.0)
    app.cut()
    done: list[str] = []
    app.server.drained(client, lambda: done.append("done"))
    rig.after(2.0)
    assert done == ["done"]


def test_who_stands_at_the_door_does_not_use_up_what_those_inside_need() -> None:
    rig, app, (_talker, *_) = pressed()
    refused = 0
    for _ in range(2_000):
        opening = RecordingOpening()
        rig.world.open(opening, claims={"long": ["x" * 1000]})
        rig.settle()
        refused += bool(opening.refusals)
        assert {reason.name for reason, _ in opening.refusals} <= {"link-overflow"}
    assert refused > 1_000
    assert not app.server.over
    assert app.server.out.waiting < 512 * 1024
    assert ends(rig) == []


def test_an_app_server_that_asks_and_does_not_take_is_given_up() -> None:
    rig, app, _clients = pressed(limits=Limits(outbox_bytes_link=MIB))
    text = "x" * 10_000
    for ref in range(1, 300):
        if app.line.closed:
            break
        app.server.queue(tunnel.Failed(ref, 1, "x", text))
        rig.settle()
    assert app.line.closed == [LINK_SLOW]
    assert ends(rig) == ["app-lost"] * 3
    assert rig.world.node.hub(HUB) is None


def test_a_window_is_no_promise_to_keep_so_much() -> None:
    """An app server may offer a tebibyte and take nothing: what has left is kept for a resume."""
    rig = Rig(limits=Limits(outbox_bytes_link=MIB))
    app = rig.app(window=1 << 40)
    _, talker = app.client("/")
    app.ack()
    fill(rig, app, talker)
    assert app.server.out.in_flight < MIB + 300 * 1024
    app.cut()
    app.back()
    assert app.server.out.window == MIB


def test_a_long_answer_leaves_as_it_is_taken() -> None:
    rig, app, _ = pressed()
    frames = (tunnel.Failed(ref, 1, "x", "y" * 10_000) for ref in range(1, 1_000))
    app.server.queue_slowly(frames)
    rig.settle()
    assert app.server.out.waiting < 300 * 1024
    app.server.queue(tunnel.Done(5_000, 0))
    got: list[int] = []
    while len(got) < 1_000:
        got += [frame.ref for frame in app.heard(tunnel.Failed, tunnel.Done)]
        assert app.server.out.waiting < 300 * 1024
        app.ack()
    assert [ref for ref in got if ref < 5_000] == list(range(1, 1_000))
    assert got.index(5_000) < 100, "what comes meanwhile does not wait for all of it"


# -- the service stops ------------------------------------------------------------------------------------


def test_a_stop_sends_what_is_queued_and_says_why() -> None:
    rig = Rig()
    app = rig.app()
    _number, connection = app.client("/")
    rig.door.drain(7.5)
    rig.world.node.disconnect(connection, DRAINING, who="service")
    rig.door.close()
    app.read()
    assert [type(frame) for frame in app.frames] == [tunnel.Drain, tunnel.Closed]
    assert app.frames[0] == tunnel.Drain(7.5)
    assert app.line.closed == [DRAINING]


# -- what others do ---------------------------------------------------------------------------------------


def test_others_take_its_sockets_out_of_a_namespace() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/", "/ns")
    rig.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/ns")), "/ns"))
    assert app.heard() == [tunnel.Left(number, "/ns")]
    rig.world.settle()
    assert sink_of(connection).packets[-1] == b"41/ns,"
    rig.world.execute(LeaveNamespace(HUB, Selection(group=namespace_group("/")), "/", close=True))
    assert [type(frame) for frame in app.heard()] == [tunnel.Left, tunnel.Closed]


def test_nothing_is_said_to_a_session_that_is_over() -> None:
    rig = Rig()
    app = rig.app()
    _, connection = app.client("/")
    server = app.server
    app.cut()
    rig.after(10.0)
    assert server.over
    waiting = server.out.waiting
    server.queue(tunnel.Done(1, 1))
    server.queue_slowly(iter([tunnel.Done(1, 1)]))
    server.closed(connection, CLIENT_CLOSED)
    server.moved(connection, "/", ("r",), joined=True)
    server.left(connection, "/")
    server.query(1, "/", ())
    server.told(1, "s2", "/", b"")
    server.flush()
    server.give_up()
    assert server.out.waiting == waiting
    assert not server._backlog
