"""The life of a connection step by step: request, answer, end; app servers and hubs.

The fakes hold the node to its ports' contracts: they complain of anything after the end.
"""

from __future__ import annotations

import pytest

from moorage.engine.upgrade import State
from moorage.hub.hub import Client, Connection
from moorage.hub.settings import HubSettings, Limits
from moorage.wire.commands import EVERYONE, Exists, Invoke, Selection
from moorage.wire.errors import PeerError
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import (
    APP_LOST,
    APP_REFUSED,
    BAD_PACKET,
    BAD_SOCKETIO_PACKET,
    CLIENT_CLOSED,
    CONNECT_TIMEOUT,
    DRAINING,
    NO_APP_SERVER,
    PAYLOAD_TOO_LARGE,
    PING_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_GROUPS,
    TRANSPORT_LOST,
    UNEXPECTED_BINARY,
    Reason,
)
from tests.hub.fakes import (
    HUB,
    RecordingAnswers,
    RecordingLink,
    RecordingOpening,
    RecordingPeer,
    RecordingSink,
    World,
    heard,
    sink_of,
)


@pytest.fixture
def asked() -> tuple[World, RecordingLink, RecordingOpening, Connection]:
    """A client whose app server has not answered yet."""
    world = World()
    _, link = world.server()
    link.on_open = lambda connection: None
    opening = RecordingOpening()
    connection = world.open(opening, user_id="ada", groups=("vip",))
    return world, link, opening, connection


Asked = tuple[World, RecordingLink, RecordingOpening, Connection]


def nothing_is_left(world: World) -> bool:
    """Check that no client exists or is counted."""
    hubs = world.node.hubs.values()
    servers = [server for hub in hubs for server in hub.servers.all()]
    return (
        world.node.connections == world.sockets == world.node.flusher.waiting == 0
        and not world.node._openings
        and not any(server.clients for server in servers)
        and not any(hub.websockets or hub.directory.connections or len(hub.directory.rooms) for hub in hubs)
    )


# -- the request for a session


def refusal(world: World, hub: str = HUB) -> Reason:
    """The reason for which a client is refused at once."""
    before = world.node.connections
    with pytest.raises(PeerError) as caught:
        world.open(RecordingOpening(), hub=hub)
    assert world.node.connections == before
    return caught.value.reason


def test_refused_without_an_app_server() -> None:
    world = World()
    assert refusal(world) is NO_APP_SERVER
    assert world.node.hubs == {}, "a stranger has made a hub"
    server, _ = world.server()
    server.up = False
    assert refusal(world) is NO_APP_SERVER
    assert refusal(world, "other") is NO_APP_SERVER


def test_limits_and_draining() -> None:
    world = World(limits=Limits(max_connections=2))
    _, link = world.server()
    world.client()
    link.on_open = lambda connection: None
    waiting = world.open(RecordingOpening())
    assert refusal(world) is TOO_MANY_CONNECTIONS
    world.node.abandon(waiting)
    world.node.draining = True
    assert refusal(world) is DRAINING
    world.node.draining = False
    world.open(RecordingOpening())


def test_an_acceptance(asked: Asked) -> None:
    world, _, opening, connection = asked
    assert world.node.connections == 1
    assert world.hub().directory.connections == {}
    world.node.accept(connection, OpenInfo(ping_interval=5, ping_timeout=6, max_payload=700))
    assert opening.accepts == [(connection, OpenInfo(ping_interval=5, ping_timeout=6, max_payload=700))]
    assert connection.session.max_payload == 700
    assert connection.groups == {"vip"}
    assert len(world.observer.opens) == 1
    for selection in (Selection(connection=connection.id), Selection(user="ada"), Selection(group="vip")):
        assert world.execute(Exists(HUB, selection)).found


def test_an_app_server_cannot_raise_the_payload_limit() -> None:
    world = World(limits=Limits(max_payload=100))
    world.server()
    opening = RecordingOpening()
    connection = world.open(opening, groups=("a", "b"))
    assert connection.session.max_payload == 100
    assert opening.accepts[0][1].max_payload == 100
    assert connection.groups == {"a", "b"}


def test_a_token_with_too_many_groups_is_refused() -> None:
    world = World(limits=Limits(max_groups=1))
    world.server()
    with pytest.raises(PeerError) as refused:
        world.open(RecordingOpening(), groups=("a", "b"))
    assert refused.value.reason is TOO_MANY_GROUPS
    assert world.node.connections == 0


def test_an_acceptance_while_draining(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.draining = True
    world.node.accept(connection, OpenInfo())
    assert opening.accepts == []
    assert opening.refusals == [(DRAINING, "")]
    assert link.ended == [(connection.id, DRAINING)]
    assert world.node.connections == 0


def test_a_refusal(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.refuse(connection, APP_REFUSED, "go away")
    world.node.refuse(connection, CONNECT_TIMEOUT)
    assert opening.refusals == [(APP_REFUSED, "go away")]
    assert link.ended == []
    assert connection.session.state is State.CLOSED
    assert nothing_is_left(world)


def test_an_acceptance_after_the_client_has_gone(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.abandon(connection)
    assert nothing_is_left(world)
    assert link.ended == []
    world.node.accept(connection, OpenInfo())
    # The app server has accepted the client, so it must be notified of the end.
    assert link.ended == [(connection.id, TRANSPORT_LOST)]
    assert opening.accepts == []
    assert opening.refusals == []
    assert nothing_is_left(world)


def test_a_refusal_after_the_client_has_gone(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.abandon(connection)
    world.node.refuse(connection, APP_REFUSED)
    world.node.abandon(connection)
    world.node.disconnect(connection, CLIENT_CLOSED, who="client")
    assert opening.refusals == []
    assert link.ended == []
    assert world.logged == []


def test_a_second_answer_changes_nothing(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.accept(connection, OpenInfo())
    world.node.accept(connection, OpenInfo())
    world.node.refuse(connection, APP_REFUSED)
    world.node.abandon(connection)
    assert len(opening.accepts) == 1
    assert opening.refusals == []
    assert link.ended == []
    assert world.node.connections == 1


def test_a_disconnect_before_the_answer_is_a_refusal(asked: Asked) -> None:
    world, link, opening, connection = asked
    world.node.disconnect(connection, DRAINING, who="service", detail="bye")
    assert opening.refusals == [(DRAINING, "bye")]
    assert link.ended == []
    assert nothing_is_left(world)


# -- the end


def test_each_side_is_notified_once_of_an_end() -> None:
    world = World()
    _, link = world.server()
    client = world.client("/", "/ns", user_id="ada")
    sink = sink_of(client)
    world.now += 12.5
    world.send(client, b'42["last"]')
    queued = client.outbox.size
    world.node.disconnect(client, TRANSPORT_LOST, who="client", detail="reset")
    world.node.disconnect(client, CLIENT_CLOSED, who="service")
    world.settle()
    assert [reason for reason, _ in sink.closed] == [TRANSPORT_LOST]
    assert sink.packets == [b'42["last"]']
    assert link.ended == [(client.id, TRANSPORT_LOST)]
    assert world.logged == [(client.id, "transport-lost", "client", "reset", 12.5, queued)]
    assert [row[1] for row in world.logged] == ["transport-lost"]
    assert nothing_is_left(world)
    assert not world.execute(Exists(HUB, Selection(user="ada"))).found


@pytest.mark.parametrize(
    ("packet", "reason", "who"),
    [
        (b"1", CLIENT_CLOSED, "client"),
        (b"9", BAD_PACKET, "service"),
        (b"49", BAD_SOCKETIO_PACKET, "service"),
        (b"4" * 1_001, PAYLOAD_TOO_LARGE, "service"),
    ],
)
def test_a_packet_that_ends_the_connection(packet: bytes, reason: Reason, who: str) -> None:
    world = World(limits=Limits(max_payload=1_000))
    _, link = world.server()
    client, bystander = world.client("/"), world.client("/")
    link.forwarded.clear()
    world.node.receive(client, b'42["before"]')
    world.node.receive(client, packet)
    # Packets that arrived together with it are dropped; `RecordingLink` would raise.
    world.node.receive(client, b'42["after"]')
    world.node.receive_binary(client, b"after")
    assert link.packets(client) == [b'42["before"]']
    assert link.ended == [(client.id, reason)]
    assert world.logged[0][1:3] == (reason.name, who)
    assert State.OPENING < bystander.session.state < State.CLOSED


def test_binary_from_the_client() -> None:
    world = World()
    _, link = world.server()
    client = world.client()
    world.node.receive(client, b"451-[]")
    world.node.receive_binary(client, b"abc")
    world.node.receive(client, b"3")
    world.node.receive(client, b"6")
    assert link.packets(client) == [b"451-[]\x1ebYWJj", b"3"]
    world.node.receive_binary(client, b"abc")
    assert link.ended == [(client.id, UNEXPECTED_BINARY)]


def test_a_close_before_a_sink_is_attached() -> None:
    world = World()
    _, link = world.server()
    client = world.client("/")
    client.outbox.sink = None
    world.node.disconnect(client, TRANSPORT_LOST, who="client")
    assert link.ended == [(client.id, TRANSPORT_LOST)]
    assert nothing_is_left(world)


def test_a_clients_sends_during_an_upgrade_keep_their_order() -> None:
    world = World()
    _, link = world.server()
    client = world.client("/", framed=False)
    link.forwarded.clear()
    world.node.receive(client, b'42["poll"]')
    world.emit(EVERYONE, b"42[1]")
    client.outbox.attach(RecordingSink(), ready=True)
    world.node.receive(client, b'42["socket"]')
    world.emit(EVERYONE, b"42[2]")
    world.settle()
    assert heard(client) == [b"42[1]", b"42[2]"]
    assert link.packets(client) == [b'42["poll"]', b'42["socket"]']


# -- app servers and hubs


def test_the_clients_of_a_lost_app_server_are_closed() -> None:
    world = World()
    (one, link), (_, other_link) = world.server("one"), world.server("two")
    clients = [world.client("/") for _ in range(6)]
    mine = [client for client in clients if client.server is one]
    sinks = [sink_of(client) for client in mine]
    link.on_open = lambda connection: None
    opening = RecordingOpening()
    asking = world.open(opening)
    assert asking.server is one
    world.node.drop_server(world.hub(), one)
    assert opening.refusals[0][0] is NO_APP_SERVER
    assert all([reason for reason, _ in sink.closed] == [APP_LOST] for sink in sinks)
    assert sorted(link.ended) == sorted((client.id, APP_LOST) for client in mine)
    assert other_link.ended == []
    assert world.node.connections == 3
    assert world.sockets == 3
    # They reconnect to the remaining app server.
    assert world.client("/").server.id == "two"
    assert world.hub().servers.get("one") is None


def test_the_app_server_is_notified_of_an_upgrade() -> None:
    world = World()
    peer = RecordingPeer()
    world.server(peer=peer)
    client = world.client("/", framed=False)
    world.node.upgraded(client)
    assert peer.upgrades == [client.id]


def test_a_reload_keeps_all_connections() -> None:
    world = World()
    world.server()
    client = world.client("/")
    world.node.configure({"other": HubSettings()}, allow_unlisted_hubs=False)
    world.send(client, b"42[1]")
    world.settle()
    assert heard(client) == [b"42[1]"]


def test_a_hub_is_created_again_after_its_removal() -> None:
    world = World()
    server, _ = world.server()
    first = world.hub()
    world.node.drop_server(first, server)
    world.node.drop_server(first, server)
    assert world.node.hubs == {}
    world.server()
    assert world.hub() is not first


def test_a_removed_hub_cannot_remove_its_successor() -> None:
    world = World()
    server, _ = world.server()
    first = world.hub()
    world.node.drop_server(first, server)
    world.server()
    second = world.hub()
    world.node.drop_server(first, server)
    assert world.hub() is second


# -- faults


class Failing(RecordingAnswers):
    """Answers whose reader fails."""

    def finish(self, missing: tuple[str, ...]) -> None:
        super().finish(missing)
        raise RuntimeError("broken")


def test_a_question_whose_end_fails_does_not_keep_others_from_theirs() -> None:
    world = World()
    world.server()
    world.server(hub="other")
    for hub in (HUB, "other"):
        world.enter(world.open(RecordingOpening(), hub=hub), "/")
    asked = [(HUB, Failing()), (HUB, RecordingAnswers()), ("other", RecordingAnswers())]
    for hub, answers in asked:
        world.execute(Invoke(hub, EVERYONE, b"42[1]", 1.0), answers)
    for _ in range(2):
        world.now += 2
        world.node.tick(world.now)
    assert [answers.finished for _, answers in asked] == [1, 1, 1]
    assert [(part, str(error)) for part, error in world.faults] == [("node", "broken")]


def test_a_client_whose_end_fails_does_not_keep_others_from_their_heartbeat() -> None:
    world = World()
    _, link = world.server(peer=RecordingPeer(), terms=OpenInfo(1_000, 1_000))
    first, second = world.client("/"), world.client("/")
    closed = link.closed

    def fail(connection: Client, reason: Reason) -> None:
        closed(connection, reason)
        if connection is first:
            raise RuntimeError("broken")

    link.closed = fail  # type: ignore[method-assign]
    for _ in range(40):
        world.now += 0.1
        world.node.tick(world.now)
    assert {client for client, _ in link.ended} == {first.id, second.id}
    assert [part for part, _ in world.faults] == ["heartbeat"]
    third = world.client("/")
    for _ in range(40):
        world.now += 0.1
        world.node.tick(world.now)
    assert (third.id, PING_TIMEOUT) in link.ended
