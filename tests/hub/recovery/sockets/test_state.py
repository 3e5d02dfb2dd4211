"""Which sockets are kept for how long, and within which limits."""

from __future__ import annotations

from typing import Any

from moorage.hub.recovery.sockets.log import TRIM_AT_ONCE
from moorage.hub.recovery.sockets.state import ENDED_AT_ONCE
from moorage.hub.settings import HubSettings
from moorage.wire.commands import EVERYONE
from moorage.wire.reasons import APP_CLOSED
from tests.hub.fakes import HUB, World
from tests.hub.recovery.stage import ROOT, Stage, room
from tests.hub.recovery.test_moves import Home, move, parked


def limited(**limits: float) -> Stage:
    """A hub with these limits."""
    given: Any = {f"recovery_{name}": value for name, value in limits.items()}
    return Stage(World(hubs={HUB: HubSettings(**given)}))


def test_a_parked_socket_is_forgotten_when_its_time_is_over() -> None:
    stage = Stage(seconds=10)
    client = stage.client()
    client.lose()
    stage.world.now += 9
    stage.world.node.tick(stage.world.now)
    client.come_back()
    assert len(stage.returns.sockets) == 1
    client.lose()
    stage.world.now += 11
    stage.world.node.tick(stage.world.now)
    client.come_back(answer=False)
    assert len(stage.returns.sockets) == 1
    assert stage.world.node.claims.counts.refused == {"unknown": 1}


def test_the_oldest_parked_sockets_make_room() -> None:
    stage = limited(max_parked=2)
    clients = [stage.client() for _ in range(3)]
    for client in clients:
        client.lose()
    for client in clients:
        client.come_back()
    assert stage.world.node.claims.counts.refused == {"unknown": 1}
    assert len(stage.returns.sockets) == 2


def test_a_socket_that_missed_too_much_gets_a_new_session() -> None:
    stage = limited(session_events=5)
    client, other = stage.client(), stage.client()
    for each, count in ((client, 6), (other, 5)):
        each.lose()
        for number in range(count):
            stage.world.emit(ROOT, b'42["missed",%d]' % number)
        each.come_back()
    assert stage.world.node.claims.counts.refused == {"dropped": 1}
    assert len(other.events) == 5


def test_very_many_that_are_away_for_too_long_end_over_some_ticks() -> None:
    stage = Stage(seconds=10)
    clients = [stage.client() for _ in range(ENDED_AT_ONCE + 1)]
    for client in clients:
        client.lose()
    stage.tick(11)
    away = clients[0].connection.hub.recovery.away  # type: ignore[union-attr]
    assert len(away) == 1
    stage.tick(0.25)
    assert len(away) == 0


def test_the_log_of_a_hub_that_ends_is_given_up_piece_by_piece() -> None:
    stage = Stage(seconds=10)
    client = stage.client()
    for number in range(TRIM_AT_ONCE + 100):
        stage.world.emit(EVERYONE, b'42["event",%d]' % number)
    hub = stage.world.hub()
    recovery = hub.recovery
    assert recovery is not None
    client.lose(APP_CLOSED)
    stage.server.returns = None
    stage.tick(0.25)
    assert recovery.log.events == 100
    assert hub.recovery is recovery
    stage.tick(0.25)
    assert hub.recovery is None


def test_without_a_journal_there_is_nothing_to_write() -> None:
    stage = Stage()
    client = stage.client()
    recovery = stage.world.hub().recovery
    assert recovery is not None
    recovery.write_all()
    assert [track.pid for track in recovery.everyone()] == [client.pid["/"]]


def test_what_a_socket_has_brought_along_stays_if_its_client_goes_away_before_it_has_certainly_had_it() -> (
    None
):
    one, other = Home(), Home()
    other.world.client("/")
    client = parked(one, "a")
    one.world.emit(room("a"), b'42["missed",1]')
    before = client.offset["/"]
    move(one, other, client)
    client.come_back()
    client.lose()
    other.tick(60)
    client.come_back(offset=before)
    assert client.events == [["/", "missed", 1]]
