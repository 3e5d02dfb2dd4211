"""One app server: its clients' events, in order, over tunnels that come and go."""

from __future__ import annotations

import pytest

from moorage.edge.azure.channel import MAX_BATCH
from moorage.edge.settings import LinkSettings
from moorage.wire.azure import tunnel_frames
from moorage.wire.errors import PeerError
from moorage.wire.reasons import APP_LOST, CLIENT_CLOSED, DRAINING
from tests.edge.azure.rig import TERMS, Rig, contents

# -- connect --------------------------------------------------------------------------------------------


def test_the_greeting_is_the_first_frame() -> None:
    rig = Rig()
    transport = rig.open()
    rig.ask()
    rig.settle()
    assert [frame.name for frame in transport.frames()] == ["greeting", "connect"]


def test_the_app_server_takes_a_client() -> None:
    rig = Rig()
    transport = rig.open()
    connection, opening = rig.ask()
    (event,) = rig.sent(transport)
    assert (event.name, event.connection) == ("connect", connection.id)
    assert not opening.accepts
    rig.answer(transport, event, content=TERMS)
    assert [accepted for accepted, _ in opening.accepts] == [connection]


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (400, b"no", "app-refused"),
        (401, b"", "app-refused"),
        (500, b"oh", "app-error"),
        (204, b"", "app-error"),
        (200, b"", "app-error"),
        (200, b'{"socketio":[]}', "app-error"),
        (200, b"\xff", "app-error"),
    ],
)
def test_it_does_not(status: int, content: bytes, reason: str) -> None:
    rig = Rig()
    transport = rig.open()
    _, opening = rig.ask()
    (event,) = rig.sent(transport)
    rig.answer(transport, event, status, content)
    assert [refused.name for refused, _ in opening.refusals] == [reason]
    assert rig.sent(transport) == [], "there is no session to end"
    assert not transport.tunnel.channels, "nothing of it is kept"


def test_a_limit_above_that_of_the_service_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    transport = rig.open()
    for _ in range(2):
        rig.ask()
        *_, event = rig.sent(transport)
        rig.answer(transport, event, content=TERMS.replace(b"1000000", b"2000000"))
    assert caplog.text.count("maxHttpBufferSize of the app server is above limits.max_payload") == 1


def test_it_does_not_answer() -> None:
    rig = Rig(links=LinkSettings(connect_timeout=35.0))
    transport = rig.open()
    _, opening = rig.ask()
    (event,) = rig.sent(transport)
    rig.after(34.9)
    assert not opening.refusals
    rig.after(0.2)
    assert [refused.name for refused, _ in opening.refusals] == ["connect-timeout"]
    assert [frame.name for frame in rig.sent(transport)] == ["disconnected"], (
        "should it have taken the client"
    )
    rig.answer(transport, event, content=TERMS)
    assert not opening.accepts


def test_a_client_that_did_not_wait() -> None:
    rig = Rig()
    transport = rig.open()
    connection, _ = rig.ask()
    (event,) = rig.sent(transport)
    rig.world.node.abandon(connection)
    assert rig.sent(transport) == []
    rig.answer(transport, event, content=TERMS)
    assert [(f.name, f.connection) for f in rig.sent(transport)] == [("disconnected", connection.id)]


# -- messages -------------------------------------------------------------------------------------------


def test_packets_of_a_tick_are_one_event_of_each_client() -> None:
    rig = Rig()
    transport = rig.open()
    first, second = rig.client(transport), rig.client(transport)
    rig.say(first, "42[1]", "42[2]")
    rig.say(second, "42[3]")
    rig.say(first, "42[4]")
    frames = rig.sent(transport)
    assert [(frame.connection, frame.content) for frame in frames] == [
        (first.id, b"42[1]\x1e42[2]\x1e42[4]"),
        (second.id, b"42[3]"),
    ]
    assert len({frame.ack_id for frame in frames}) == 2


def test_large_packets_are_not_joined() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    packet = f'42["{"x" * (MAX_BATCH // 2)}"]'
    rig.say(client, packet, packet)
    assert contents(rig.sent(transport)) == [packet, packet]


def test_answers_settle_events_once() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.say(client, "42[1]")
    (event,) = rig.sent(transport)
    told: list[str] = []
    rig.server.drained(client, lambda: told.append("a"))
    rig.server.drained(client, lambda: told.append("b"))
    assert told == []
    rig.server.received(transport.tunnel, tunnel_frames.response(event.ack_id, 200, more=True), rig.world.now)
    assert told == [], "not complete"
    rig.answer(transport, event)
    rig.answer(transport, event)
    rig.answer(transport, event._replace(ack_id=99_999))
    assert told == ["a", "b"]
    rig.server.drained(client, lambda: told.append("c"))
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize("status", [400, 500])
def test_an_app_server_that_forgot_a_client_loses_it(status: int) -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.say(client, "42[1]")
    (event,) = rig.sent(transport)
    rig.answer(transport, event, status, b"EIO server cannot find ConnectionId")
    assert [(row[1], row[2]) for row in rig.world.logged] == [("app-forgot", "app")]


def test_a_broken_frame_ends_its_link() -> None:
    rig = Rig()
    transport = rig.open()
    with pytest.raises(PeerError) as found:
        rig.server.received(transport.tunnel, b"garbage", 0.0)
    assert found.value.reason.name == "link-bad-frame"
    rig.server.received(transport.tunnel, tunnel_frames.encode(99, b"{}"), 0.0)


# -- the end of a client ----------------------------------------------------------------------------------


def test_the_end_waits_for_the_last_answers() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.say(client, "42[1]", "42[2]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    (event,) = rig.sent(transport)
    assert event.content == b"42[1]\x1e42[2]"
    rig.after(4.9)
    assert rig.sent(transport) == []
    rig.answer(transport, event)
    assert [frame.name for frame in rig.sent(transport)] == ["disconnected"]
    rig.after(10)
    assert rig.sent(transport) == [], "once"


def test_the_end_does_not_wait_for_ever() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.say(client, "42[1]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    rig.sent(transport)
    rig.after(5.1)
    assert [frame.name for frame in rig.sent(transport)] == ["disconnected"]


# -- tunnels come and go ----------------------------------------------------------------------------------


def test_clients_spread_over_tunnels_and_stay_there() -> None:
    rig = Rig()
    first, second = rig.open("t1"), rig.open("t2")
    connection, _ = rig.ask()
    (event,) = rig.sent(first)
    rig.answer(second, event, content=TERMS)
    other, _ = rig.ask()
    (event,) = rig.sent(second)
    rig.answer(second, event, content=TERMS)
    for client, transport in ((connection, first), (other, second)) * 2:
        rig.say(client, "42[1]")
        assert [frame.connection for frame in rig.sent(transport)] == [client.id]


def test_unanswered_events_move_to_another_tunnel_after_a_while() -> None:
    rig = Rig()
    first = rig.open("t1")
    client = rig.client(first)
    second = rig.open("t2")
    rig.say(client, "42[1]")
    (lost,) = rig.sent(first)
    rig.say(client, "42[2]")
    rig.lose(first)
    rig.say(client, "42[3]")
    assert contents(rig.sent(second)) == [], "its answer may still come, over another tunnel"
    rig.after(1.6)
    frames = rig.sent(second)
    assert contents(frames) == ["42[1]", "42[2]\x1e42[3]"], "the oldest first"
    assert lost.ack_id not in {frame.ack_id for frame in frames}
    assert rig.world.metrics.events_resent == 1


def test_a_late_answer_keeps_an_event_from_coming_twice() -> None:
    rig = Rig()
    first = rig.open("t1")
    client = rig.client(first)
    second = rig.open("t2")
    rig.say(client, "42[1]")
    (event,) = rig.sent(first)
    rig.lose(first)
    rig.say(client, "42[2]")
    rig.answer(second, event)
    assert contents(rig.sent(second)) == ["42[2]"], "at once: nothing older is missing any more"
    rig.after(1.6)
    assert contents(rig.sent(second)) == []


def test_without_a_tunnel_events_wait_for_the_next() -> None:
    rig = Rig()
    transport = rig.open()
    client, other = rig.client(transport), rig.client(transport)
    rig.lose(transport)
    rig.say(client, "42[1]")
    rig.after(1.0)
    rig.say(client, "42[2]")
    rig.say(other, "42[3]")
    again = rig.open("t2")
    frames = rig.sent(again)
    assert sorted((frame.connection, frame.content) for frame in frames) == [
        (client.id, b"42[1]\x1e42[2]"),
        (other.id, b"42[3]"),
    ]


def test_the_end_of_a_client_is_told_to_the_next_tunnel() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.lose(transport)
    rig.say(client, "42[1]")
    rig.world.node.disconnect(client, CLIENT_CLOSED, who="client")
    rig.after(4.0)
    again = rig.open("t2")
    (event,) = rig.sent(again)
    assert event.content == b"42[1]"
    rig.answer(again, event)
    assert [frame.name for frame in rig.sent(again)] == ["disconnected"]


def test_a_client_that_was_opening_is_refused() -> None:
    rig = Rig()
    transport = rig.open()
    connection, opening = rig.ask()
    rig.sent(transport)
    rig.lose(transport)
    assert [refused.name for refused, _ in opening.refusals] == ["no-app-server"]
    again = rig.open("t2")
    assert [(f.name, f.connection) for f in rig.sent(again)] == [("disconnected", connection.id)]


def test_no_new_client_while_no_tunnel_is_up() -> None:
    rig = Rig()
    transport = rig.open()
    rig.lose(transport)
    with pytest.raises(PeerError) as found:
        rig.ask()
    assert found.value.reason.name == "no-app-server"


def test_the_grace_time_ends() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    transport = rig.open()
    rig.client(transport)
    rig.lose(transport)
    rig.after(4.9)
    assert rig.world.logged == []
    rig.after(0.2)
    assert [row[1] for row in rig.world.logged] == ["app-lost"]
    assert rig.world.node.hubs == {}


def test_a_tunnel_in_time_keeps_the_clients() -> None:
    rig = Rig(links=LinkSettings(grace=5.0))
    transport = rig.open()
    rig.client(transport)
    rig.lose(transport)
    rig.lose(transport)
    rig.after(4.9)
    rig.open("t2")
    rig.after(60)
    assert rig.world.logged == []


def test_a_tunnel_that_is_being_closed_gets_nothing_new() -> None:
    rig = Rig()
    first, second = rig.open("t1"), rig.open("t2")
    rig.sent(first)
    first.tunnel.open = False
    rig.ask()
    rig.ask()
    assert [frame.name for frame in rig.sent(second)] == ["connect", "connect"]
    assert rig.server.any_tunnel() is second.tunnel


def test_a_data_frame_keeps_an_idle_link_alive() -> None:
    rig = Rig(links=LinkSettings(keepalive=40.0))
    first, second = rig.open("t1"), rig.open("t2")
    rig.after(0)
    first.frames(), second.frames()
    for _ in range(3):
        rig.after(39.0)
        assert first.frames() == second.frames() == []
        rig.after(1.0)
        assert [f.name for f in first.frames()] == [f.name for f in second.frames()] == ["keepalive"]


def test_a_stop_closes_all_tunnels_after_their_last_frames() -> None:
    rig = Rig()
    transport = rig.open()
    client = rig.client(transport)
    rig.say(client, "42[1]")
    rig.server.close_all()
    assert contents(transport.frames()) == ["42[1]"]
    assert [reason.name for reason in transport.closed] == ["draining"]


def test_links_that_move_to_another_node_end_their_clients_first() -> None:
    rig = Rig()
    transport = rig.open()
    clients = [rig.client(transport) for _ in range(120)]
    rig.server.give_up()
    rig.server.give_up()
    assert not rig.server.app.takes_clients
    assert not transport.closed
    sent = rig.sent(transport)
    assert {event.name for event in sent} == {"disconnected"}
    assert sorted(event.connection for event in sent) == sorted(client.id for client in clients)
    assert transport.closed == [DRAINING]
    assert [close[1] for close in rig.world.observer.closes] == [APP_LOST.name] * 120
    assert len(rig.hub.servers) == 0
