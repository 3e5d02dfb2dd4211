"""What waits for an app server that does not keep up, and who waits with it."""

from __future__ import annotations

import functools

import pytest

from moorage.edge import resuming
from moorage.edge.moorage.server import GATHERED
from moorage.edge.settings import EdgeLimits, LinkSettings
from moorage.engine.upgrade import State
from moorage.hub.hub import Connection
from moorage.wire.moorage import v1
from moorage.wire.reasons import APP_LOST, LINK_SLOW
from tests.edge.moorage.rig import App, Rig, ends, say
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink, sink_of

MIB = 1024 * 1024


def pressed(
    *,
    window: int = 64 * 1024,
    clients: int = 3,
    limits: EdgeLimits | None = None,
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


def test_a_client_that_sends_beyond_the_credit_is_held_back() -> None:
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
    assert len([frame for frame in app.frames if isinstance(frame, v1.Packet)]) == count


def test_many_held_clients_are_read_a_few_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "READ_AT_ONCE", 1)
    rig, app, clients = pressed()
    sinks = [sink_of(client) for client in clients]
    fill(rig, app, clients[0])
    while sinks[1].reading:
        say(rig, clients[0], PACKET)
    while app.server.out.waiting or app.server.out.in_flight:
        app.heard()
        app.ack()
        app.server.flush()
    assert [sink.reading for sink in sinks] == [False] * 3
    rig.world.node.disconnect(clients[1], APP_LOST, who="service")
    rig.settle()
    assert [sink.reading for sink in sinks] == [True, False, True]


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


def test_a_client_that_still_sends_is_closed() -> None:
    rig, app, (talker, quiet, _) = pressed()
    fill(rig, app, talker)
    for _ in range(256 * 1024 // len(PACKET) + 1):
        say(rig, talker, PACKET)
    assert ends(rig) == ["link-overflow"]
    take_all(rig, app)
    assert sink_of(quiet).reading


def test_answers_to_the_app_server_do_not_count_against_its_clients() -> None:
    """Answers that wait for credit hold clients back, and close none of them."""
    rig, app, (talker, *_) = pressed()
    big = (b"x" * 20_000).decode()
    for ref in range(1, 40):
        # Each is answered with its own text.
        app.say(v1.Emit(ref, v1.To("/", ()), 0, b"b!"))
        app.server.queue(v1.Failed(ref, 1, "x", big))
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
    assert app.server._pressure.held_bytes == 0


def test_a_burst_of_one_tick_holds_clients_no_longer_than_needed() -> None:
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
    assert [len(frame.payload) for frame in app.heard(v1.Packet)] == [len(PACKET)] * count


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
    assert app.server._pressure.drains == {}


def test_frames_for_an_app_server_that_stays_away_are_dropped() -> None:
    rig, app, (client, *_) = pressed(framed=False, grace=1.0)
    app.cut()
    done: list[str] = []
    app.server.drained(client, lambda: done.append("done"))
    rig.after(2.0)
    assert done == ["done"]


def test_new_clients_do_not_use_up_the_capacity_of_connected_ones() -> None:
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
    rig, app, _clients = pressed(limits=EdgeLimits(outbox_bytes_link=MIB))
    text = "x" * 10_000
    for ref in range(1, 300):
        if app.line.closed:
            break
        app.server.queue(v1.Failed(ref, 1, "x", text))
        rig.settle()
    assert app.line.closed == [LINK_SLOW]
    assert ends(rig) == ["app-lost"] * 3
    assert rig.world.node.hub(HUB) is None


def test_a_window_is_no_promise_to_keep_so_much() -> None:
    """An app server may offer a tebibyte and take nothing: what has left is kept for a resume."""
    rig = Rig(limits=EdgeLimits(outbox_bytes_link=MIB))
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
    frames = (v1.Failed(ref, 1, "x", "y" * 10_000) for ref in range(1, 1_000))
    app.server.queue_slowly(map(v1.encode_frame, frames))
    rig.settle()
    assert app.server.out.waiting < 300 * 1024
    app.server.queue(v1.Done(5_000, 0))
    got: list[int] = []
    while len(got) < 1_000:
        got += [frame.ref for frame in app.heard(v1.Failed, v1.Done)]
        assert app.server.out.waiting < 300 * 1024
        app.ack()
    assert [ref for ref in got if ref < 5_000] == list(range(1, 1_000))
    assert got.index(5_000) < 100, "what comes meanwhile does not wait for all of it"


def test_clients_alone_never_fill_a_link_of_little_room() -> None:
    rig, app, clients = pressed(limits=EdgeLimits(outbox_bytes_link=MIB))
    packet = b'42["' + b"x" * 60_000 + b'"]'
    for _ in range(40):
        for client in clients:
            # One that is not read says nothing.
            if State.OPENING < client.session.state < State.CLOSED and sink_of(client).reading:
                say(rig, client, packet)
        rig.settle()
    assert ends(rig) == []
    assert app.server.out.waiting < MIB // 2
    take_all(rig, app)
    assert all(sink_of(client).reading for client in clients)


def test_new_clients_go_to_the_app_server_that_keeps_up() -> None:
    rig, stuck, (talker, *_) = pressed(clients=1)
    other = rig.app("s2")
    for server in rig.hub.servers.all():
        server.draining = False
    fill(rig, stuck, talker)
    rig.after(0.5)
    for _ in range(5):
        rig.world.open(RecordingOpening())
    assert len(other.heard(v1.Open)) == 5
    take_all(rig, stuck)
    rig.after(0.5)
    rig.world.open(RecordingOpening())
    assert len(stuck.heard(v1.Open)) == 1
