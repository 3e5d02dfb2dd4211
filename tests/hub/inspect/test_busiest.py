"""The busiest connections: their order, their rates, and what a question costs."""

from __future__ import annotations

import pytest

from moorage.hub.hub import Connection
from moorage.hub.inspect.busiest import FORGOTTEN_SECONDS, KEPT_SECONDS, MAX_KEPT, ROWS, STEP
from moorage.wire.commands import CloseConnections, Selection, SendToConnection
from moorage.wire.inspect.forms import BUSIEST, BusiestQuery, NodeBusiest
from tests.hub.inspect.stage import Stage


def ask(stage: Stage, **query: object) -> list[tuple[str, float, float]]:
    """Ids and rates."""
    found = stage.ask(BUSIEST, BusiestQuery(**query), NodeBusiest)  # type: ignore[arg-type]
    return [(row.id, row.rate_in, row.rate_out) for row in found.connections]


def receive(stage: Stage, connection: Connection, count: int) -> None:
    for _ in range(count):
        stage.node.receive(connection, b'42["a"]')


def send(stage: Stage, connection: Connection, count: int) -> None:
    for _ in range(count):
        stage.execute(SendToConnection("app", connection.id, b'42["a"]'))


def test_rates_are_those_since_the_question_before() -> None:
    stage = Stage()
    stage.server()
    loud, quiet, hearing = stage.crowd(3)
    stage.now += 100
    assert [row[1:] for row in ask(stage)] == [(0.01, 0.01)] * 3, "since they began: their CONNECT"
    receive(stage, loud, 40)
    send(stage, hearing, 20)
    send(stage, quiet, 2)
    stage.now += 2
    assert ask(stage) == [(loud.id, 20, 0), (hearing.id, 0, 10), (quiet.id, 0, 1)]
    assert ask(stage, sort="out", limit=2) == [(hearing.id, 0, 10), (quiet.id, 0, 1)]
    assert ask(stage, sort="in", limit=1) == [(loud.id, 20, 0)]
    stage.now += 10
    receive(stage, quiet, 10)
    assert ask(stage, limit=1) == [(quiet.id, 1, 0)]


def test_a_question_soon_after_another_one_measures_over_a_longer_time() -> None:
    stage = Stage()
    stage.server()
    (client,) = stage.crowd(1)
    for _ in range(2):
        stage.now += 4
        ask(stage)
    stage.now += KEPT_SECONDS / 2
    receive(stage, client, 9)
    assert ask(stage, sort="in") == [(client.id, 2, 0)], "4.5 seconds"
    assert ask(stage) == [(client.id, 0, 0)], "the answer is kept"


def test_by_queued_bytes_and_by_hub() -> None:
    stage = Stage()
    stage.server()
    stage.server("s2", hub="Zoo")
    full, other = stage.crowd(2)
    full.outbox.block()
    send(stage, full, 5)
    stranger = stage.client("/", hub="zoo")
    assert [row[0] for row in ask(stage, sort="queued", limit=1)] == [full.id]
    assert [row[0] for row in ask(stage, hub="ZOO")] == [stranger.id]
    assert {row[0] for row in ask(stage, hub="app")} == {full.id, other.id}


def test_it_works_in_steps_and_leaves_out_who_has_gone_meanwhile() -> None:
    stage = Stage()
    stage.server()
    first, *others = stage.crowd(2 * STEP + 1)
    assert stage.steps(BUSIEST, BusiestQuery(limit=200)) >= 2 + 200 // ROWS
    receive(stage, first, 5)
    stage.now += 5
    job = stage.inspector.busiest.gather(BusiestQuery())
    for _ in range(3):
        next(job)
    stage.execute(CloseConnections("app", Selection(connection=first.id)))
    with pytest.raises(StopIteration) as ended:
        while True:
            next(job)
    assert first.id not in [row.id for row in ended.value.value.connections]
    assert len(others) == 2 * STEP


def test_a_search_ends_after_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.hub.inspect.busiest.MAX_LOOKED", STEP)
    stage = Stage()
    stage.server()
    assert not stage.ask(BUSIEST, BusiestQuery(), NodeBusiest).limited
    stage.crowd(STEP + 50)
    stage.now += 2
    assert stage.ask(BUSIEST, BusiestQuery(), NodeBusiest).limited


def test_what_was_counted_is_forgotten_when_nobody_asks() -> None:
    stage = Stage()
    stage.server()
    (client,) = stage.crowd(1)
    stage.now += 19
    ask(stage)
    stage.inspector.busiest.tick(stage.now + FORGOTTEN_SECONDS)
    receive(stage, client, 9)
    stage.now += 1
    assert ask(stage) == [(client.id, 9, 0)]
    stage.now += FORGOTTEN_SECONDS + 20
    assert ask(stage) == [(client.id, 0.1, 0.01)], "since it began, 100 seconds ago"


def test_few_answers_are_kept() -> None:
    stage = Stage()
    stage.server()
    (client,) = stage.crowd(1)
    for limit in range(1, MAX_KEPT + 2):
        ask(stage, limit=limit)
    receive(stage, client, 1)
    assert ask(stage, limit=1)[0][1] == ask(stage, limit=3)[0][1] + 1
