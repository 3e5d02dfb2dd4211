"""Clients that come and go, or are refused, as a watch sees them."""

from __future__ import annotations

import pytest

from moorage.wire import reasons
from moorage.wire.commands import JoinGroups, Selection
from moorage.wire.errors import PeerError
from moorage.wire.trace.seen import State
from tests.hub.fakes import HUB, RecordingOpening
from tests.hub.trace.traced import WALL, Traced


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def test_a_user_from_the_first_request_to_the_end(world: Traced) -> None:
    world.watch(user="ada")
    client = world.client("/", user_id="ada")
    world.node.disconnect(world.client("/", user_id="bob"), reasons.APP_CLOSED, who="app")
    world.join(client, "r")
    world.execute(JoinGroups(HUB, Selection(connection=client.id), ("any other group",)))
    assert world.short()[-1] == ("joined", "/", "r")
    world.now += 5
    world.node.disconnect(client, reasons.PING_TIMEOUT, who="service", detail="why")
    left, closed = world.seen()
    assert isinstance(left, State)
    assert isinstance(closed, State)
    assert (left.state, left.namespace) == ("left", "/")
    assert closed == State(
        WALL + 1_005.0,
        HUB,
        client.id,
        "ada",
        "s1",
        "closed",
        transport="websocket",
        reason="ping-timeout",
        number=1109,
        who="service",
        detail="why",
        age=5.0,
    )
    assert world.tracer.take("w").connections == 0


def test_refused_clients(world: Traced) -> None:
    world.watch("ada", user="ada")
    world.tracer.refused("app", "bob", PeerError(reasons.DRAINING))
    world.watch("all", sample=1.0)
    world.node.draining = True
    for user in ("ada", "bob"):
        with pytest.raises(PeerError):
            world.open(RecordingOpening(), user_id=user)
    world.tracer.refused("app", "ada\ud83d", PeerError(reasons.TOKEN_EXPIRED, "d"), claimed=True)
    (found,) = world.seen("ada")
    assert found == State(WALL + 1_000.0, HUB, "", "ada", "", "refused", reason="draining", number=1100)
    everyone = world.seen("all")
    assert everyone[2] == State(
        WALL + 1_000.0,
        HUB,
        "",
        "ada?",
        "",
        "refused",
        reason="token-expired",
        number=3004,
        detail="d",
        claimed=True,
    )
