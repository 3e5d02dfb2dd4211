"""One watch: what it wants, and its limits."""

from __future__ import annotations

import pytest

from moorage.hub.trace.watch import MAX_WAITING, RATE, Watch, indexed
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import State
from tests.hub.fakes import World

STATE = State(1.0, "app", "c1", None, "s1", "opened")


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        (Scope(connection="c0001"), True),
        (Scope(connection="c0002"), False),
        (Scope(user="ada"), True),
        (Scope(user="bob"), False),
        (Scope(app_server="s1"), True),
        (Scope(app_server="s2"), False),
        (Scope(sample=1.0), True),
        (Scope(sample=0.000_001), False),
        (Scope(user="ada", hub="APP"), True),
        (Scope(user="ada", hub="other"), False),
        (Scope(room="r"), False),
    ],
)
def test_what_it_wants(scope: Scope, wanted: bool) -> None:
    world = World()
    world.server()
    client = world.client(user_id="ada")
    watch = Watch("w", scope, 0.0)
    assert watch.wants(client) is wanted
    hub = world.hub()
    found = indexed(hub, watch)
    if scope.sample:
        assert found is None
    elif scope.room is None and watch.in_hub(hub.name):
        assert list(found or ()) == ([client] if wanted else [])


def test_half_of_all() -> None:
    world = World()
    world.server()
    clients = [world.client() for _ in range(200)]
    watch = Watch("w", Scope(sample=0.5), 0.0)
    wanted = [watch.wants(client) for client in clients]
    assert 60 < sum(wanted) < 140
    assert wanted == [watch.wants(client) for client in clients], "the same ones each time"


def test_a_room() -> None:
    assert Watch("w", Scope(room="r", namespace="/n"), 0.0).group == room_group("/n", "r")
    assert Watch("w", Scope(room=""), 0.0).group == namespace_group("/")
    assert Watch("w", Scope(user="ada"), 0.0).group == ""
    world = World()
    world.server()
    client = world.client("/")
    world.join(client, "r")
    assert list(indexed(world.hub(), Watch("w", Scope(room="r"), 0.0)) or ()) == [client]


def test_refused_clients() -> None:
    user = Watch("w", Scope(user="ada", hub="app"), 0.0)
    assert user.wants_refused("app", "ada")
    assert not user.wants_refused("app", None)
    assert not user.wants_refused("other", "ada")
    sample = Watch("w", Scope(sample=0.25), 0.0)
    assert [sample.wants_refused("app", None) for _ in range(8)] == [False, False, False, True] * 2
    assert not Watch("w", Scope(app_server="s1"), 0.0).wants_refused("app", "ada")


def test_it_follows_clients_of_its_app_server() -> None:
    world = World()
    world.server()
    client = world.client()
    assert Watch("w", Scope(app_server="s1"), 0.0).follows(client)
    assert not Watch("w", Scope(app_server="s2"), 0.0).follows(client)
    assert Watch("w", Scope(user="ada"), 0.0).follows(client)


def test_its_rate() -> None:
    watch = Watch("w", Scope(user="ada"), 0.0)
    assert sum(watch.admits(0.0) for _ in range(int(RATE.burst) + 10)) == RATE.burst
    assert watch.take() == ((), 10)
    assert sum(watch.admits(0.1) for _ in range(int(RATE.per_second))) == RATE.per_second / 10


def test_what_waits_is_bounded() -> None:
    watch = Watch("w", Scope(user="ada"), 0.0)
    for _ in range(MAX_WAITING + 5):
        watch.add(STATE)
    events, dropped = watch.take()
    assert (len(events), dropped) == (MAX_WAITING, 5)
    assert watch.take() == ((), 0)
