"""Connection state recovery over the link of an app server."""

from __future__ import annotations

import json

from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage import v1
from moorage.wire.reasons import TRANSPORT_LOST
from tests.edge.moorage.rig import App, Rig
from tests.hub.fakes import heard

TO_ALL = v1.To("/")


def recoverable(rig: Rig, *, revision: int = v1.REVISION) -> App:
    """An app server whose sockets may be away for two minutes."""
    app = App(rig, "s1")
    app.recovery = 120_000
    return app.dial(revision=revision)


def test_a_client_comes_back_to_its_socket() -> None:
    rig = Rig()
    app = recoverable(rig)
    assert app.hello.recovery == 120_000
    number, connection = app.client("/")
    answer = heard(connection)[0]
    pid = json.loads(answer[2:])["pid"]
    app.say(v1.Enter(0, number, "/", ("room",)))
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    assert app.heard() == [v1.Closed(number, 1001, "transport-lost", "transport close")]
    app.say(v1.Save("/", f"s{number}", b'{"a":1}'))
    app.say(v1.Emit(0, v1.To("/", ("room",)), 0, b'42["missed"]'))
    back, connection, _ = app.opening()
    app.say(v1.Opened(back, 25_000, 20_000, 1_000_000))
    packet = b"40" + json.dumps({"pid": pid}).encode()
    rig.world.node.receive(connection, packet)
    assert app.heard() == [v1.Recover(back, "/", packet, f"s{number}", ("room",), b'{"a":1}')]
    app.say(v1.Packet(back, f'40{{"sid":"s{number}"}}'.encode()))
    app.say(v1.Emit(0, v1.To("/", ("room",)), 0, b'42["live"]'))
    rig.settle()
    first, *events = heard(connection)
    assert json.loads(first[2:]) == {"sid": f"s{number}", "pid": pid}
    assert [json.loads(event[2:])[0] for event in events] == ["missed", "live"]
    assert namespace_group("/") in connection.groups


def test_what_crosses_the_news_of_an_end_reaches_the_socket_if_its_client_comes_back() -> None:
    rig = Rig()
    app = recoverable(rig)
    number, connection = app.client("/")
    pid = json.loads(heard(connection)[0][2:])["pid"]
    app.say(v1.Enter(0, number, "/", ("left",)))
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    app.say(v1.Packet(number, b'42["direct"]'))
    app.say(v1.Enter(7, number, "/", ("entered",)))
    app.say(v1.Exit(0, number, "/", ("left",)))
    app.say(v1.Emit(0, v1.To("/", ("left",)), 0, b'42["not for it"]'))
    app.say(v1.Emit(0, v1.To("/", ("entered",)), 0, b'42["to its room"]'))
    app.say(v1.Packet(number, b'42["second"]\x1e431[]'))
    app.say(v1.Save("/", f"s{number}", b"{}"))
    del connection
    app.say(v1.Packet(number, b'42["an app server does not send this after Save"]'))
    back, connection, _ = app.opening()
    app.say(v1.Opened(back, 25_000, 20_000, 1_000_000))
    rig.world.node.receive(connection, b"40" + json.dumps({"pid": pid}).encode())
    app.say(v1.Packet(back, f'40{{"sid":"s{number}"}}'.encode()))
    rig.settle()
    _, *events = heard(connection)
    assert [json.loads(event[2:])[0] for event in events] == ["direct", "to its room", "second"]
    assert room_group("/", "entered") in connection.groups


def test_a_disconnect_that_crosses_the_news_of_an_end_ends_the_socket() -> None:
    rig = Rig()
    app = recoverable(rig)
    number, connection = app.client("/")
    pid = json.loads(heard(connection)[0][2:])["pid"]
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    app.heard()
    app.say(v1.Packet(number, b"41/other,"), v1.Packet(number, b"41"))
    del connection
    back, connection, _ = app.opening()
    app.say(v1.Opened(back, 25_000, 20_000, 1_000_000))
    packet = b"40" + json.dumps({"pid": pid}).encode()
    rig.world.node.receive(connection, packet)
    assert app.heard() == [v1.Packet(back, packet)], (
        "the client does not wait for the data of its former socket"
    )


def test_without_recovery_nothing_changes() -> None:
    rig = Rig()
    app = App(rig, "s1").dial()
    assert app.hello.recovery == 0
    number, connection = app.client("/")
    app.say(v1.Emit(0, TO_ALL, 0, b'42["event"]'))
    rig.settle()
    assert heard(connection) == [f'40{{"sid":"s{number}"}}'.encode(), b'42["event"]']
    # The socket of nobody: ignored.
    app.say(v1.Save("/", "x", b"{}"))
    assert app.heard() == []


def test_an_older_sdk_has_no_recovery() -> None:
    assert recoverable(Rig(), revision=4).hello.recovery == 0


def quiet(rig: Rig) -> App:
    """An app server that is told nothing of clients that come back in time."""
    app = App(rig, "s1")
    app.recovery, app.quiet = 120_000, True
    return app.dial()


def test_quietly_a_socket_lives_on() -> None:
    rig = Rig()
    app = quiet(rig)
    number, connection = app.client("/")
    pid = json.loads(heard(connection)[0][2:])["pid"]
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    assert app.heard() == [v1.Parked(number, "transport close")]
    app.say(v1.Enter(0, number, "/", ("room",)))
    app.say(v1.Packet(number, b'42["direct",1]'), v1.Emit(0, v1.To("/", ("room",)), 0, b'42["missed",2]'))
    back, connection, _ = app.opening()
    app.say(v1.Opened(back, 25_000, 20_000, 1_000_000))
    app.heard()
    rig.world.node.receive(connection, b"40" + json.dumps({"pid": pid}).encode())
    rig.settle()
    app.read(take=False)
    # Until the app server has taken `Back`, it uses the former number.
    app.say(v1.Packet(number, b'42["direct",3]'), v1.Exit(0, number, "/", ("room",)))
    app.say(v1.Emit(0, v1.To("/", ("room",)), 0, b'42["not in the room"]'))
    assert app.heard() == [v1.Back(back, "/", f"s{number}", number)]
    app.ack()
    assert app.heard() == [v1.Closed(number, 1001, "transport-lost", "transport close")]
    app.say(v1.Packet(back, b'42["direct",4]'))
    rig.settle()
    first, *events = heard(connection)
    assert json.loads(first[2:]) == {"sid": f"s{number}", "pid": pid}
    assert [json.loads(event[2:])[1] for event in events] == [1, 2, 3, 4]


def test_a_quiet_app_server_closes_a_client_that_is_away() -> None:
    rig = Rig()
    app = quiet(rig)
    number, connection = app.client("/")
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    assert app.heard() == [v1.Parked(number, "transport close")]
    app.say(v1.Close(number))
    assert app.heard() == [v1.Closed(number, 1001, "transport-lost", "transport close")]


def test_a_client_of_a_session_that_is_over_leaves_nothing() -> None:
    rig = Rig()
    app = quiet(rig)
    _, connection = app.client("/")
    rig.world.node.disconnect(connection, TRANSPORT_LOST, who="client")
    app.server.farewell()
    rig.world.node.tick(rig.world.now)
    assert rig.world.node.hub(rig.hub_name) is None
