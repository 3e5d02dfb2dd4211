"""A session outlives its link, for a while: cuts, silence, and our own pauses."""

from __future__ import annotations

import pytest
from picows import WSMsgType

from moorage.edge.settings import LinkSettings
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_SILENT
from tests.edge.moorage.rig import STEP, Rig, ends, say
from tests.hub.fakes import HUB, RecordingOpening, sink_of

# -- the link breaks --------------------------------------------------------------------------------------


def test_events_wait_in_order_while_the_link_is_down() -> None:
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


def test_only_unacknowledged_batches_are_sent_again() -> None:
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
    assert [frame.payload for frame in app.heard(v1.Packet)] == [b"42[1]", b"42[2]", b"42[3]"]


def test_a_repeated_batch_is_not_carried_out_twice() -> None:
    rig = Rig()
    app = rig.app()
    number, connection = app.client("/")
    sink_of(connection).writes.clear()
    app.out.queue(v1.encode_frame(v1.Packet(number, b"42[1]")))
    batch = app.out.take(app.inc.told())
    assert batch is not None
    app.line.feed(batch)
    # The service's acknowledgement was lost: the batch is sent again.
    app.cut()
    app.back()
    app.line.feed(batch)
    app.line.feed(batch)
    app.say(v1.Packet(number, b"42[2]"))
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
    assert len(app.heard(v1.Open)) == 1


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
def test_any_other_close_code_is_no_goodbye(data: bytes) -> None:
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
    assert app.line.writes == [v1.encode_batch(0, 0, [])]
    app.read()
    app.say(v1.Drain(0.0))
    rig.after(STEP)
    assert app.line.writes == [v1.encode_batch(0, 1, [])], "within a second"


def test_a_batch_carries_the_acknowledgement() -> None:
    rig = Rig()
    app = rig.app()
    app.read()
    app.say(v1.List(1))
    rig.settle()
    ((number, ack, _),) = [v1.decode_from_service(data) for data in app.line.writes]
    assert (number, ack) == (1, 1)


def test_an_acknowledgement_is_due_at_a_quarter_of_the_window() -> None:
    rig = Rig(links=LinkSettings(window=64 * 1024))
    app = rig.app()
    number, _connection = app.client("/")
    app.read()
    app.line.writes.clear()
    app.say(v1.Packet(number, b"42" + b"x" * 15_000))
    assert app.line.writes == []
    app.say(v1.Packet(number, b"42" + b"x" * 2_000))
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
