"""REST calls in steps: in order, answered, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from moorage.control import work
from moorage.control.work import ApiWork, Reading
from moorage.hub.ports import Reply
from moorage.hub.turns import TURN_SECONDS, Job
from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    Command,
    Exists,
    JoinGroups,
    Outcome,
    Selection,
    Send,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.reasons import API_BAD_FILTER
from tests.control.rest_node import FakeNode, call, serving
from tests.hub.fakes import HUB, RecordingCluster, World, heard

pytestmark = pytest.mark.repair(4)


class Steps:
    """`Node.submit` whose every command takes three steps."""

    def __init__(self) -> None:
        self.world = World()
        self.outcomes: list[Outcome | PeerError] = []
        """What the next commands will come to; `DONE` after these."""
        self.api = ApiWork(self._submit, self.world.node.turns, self.world.node.inspections)

    def _submit(self, _command: Command, reply: Reply) -> Job[None]:
        outcome = self.outcomes.pop(0) if self.outcomes else DONE
        for _ in range(3):
            yield False
        reply(None, outcome)

    def call(self, hub: str = "app") -> asyncio.Future[Outcome]:
        """One call to a hub."""
        found = self.api.execute(Exists(hub, EVERYONE))
        assert not isinstance(found, Outcome)
        return found


async def test_calls_are_answered_one_after_another() -> None:
    steps = Steps()
    steps.outcomes = [DONE, NOT_FOUND]
    order: list[int] = []
    futures = [steps.call("App") for _ in range(2)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc]
    steps.world.settle()
    assert [await future for future in futures] == [DONE, NOT_FOUND]
    await asyncio.sleep(0)
    assert order == [0, 1]


async def test_a_refusal_reaches_its_caller_and_no_other() -> None:
    steps = Steps()
    steps.outcomes = [PeerError(API_BAD_FILTER)]
    bad, good = steps.call(), steps.call()
    steps.world.settle()
    with pytest.raises(PeerError):
        await bad
    assert await good == DONE


async def test_a_caller_that_has_gone_does_not_matter() -> None:
    steps = Steps()
    steps.outcomes = [DONE, PeerError(API_BAD_FILTER)]
    for _ in range(2):
        steps.call().cancel()
    last = steps.call()
    steps.world.settle()
    assert await last == DONE


async def test_waiting_calls_are_bounded_in_each_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WAITING", 2)
    steps = Steps()
    futures = [steps.call() for _ in range(2)]
    with pytest.raises(PeerError) as refused:
        steps.call("APP")
    assert refused.value.reason.name == "api-busy"
    futures.append(steps.call("other"))
    steps.world.settle()
    assert [await future for future in futures] == [DONE] * 3
    last = steps.call()
    steps.world.settle()
    assert await asyncio.wait_for(last, 30) == DONE


async def test_a_call_waits_for_the_other_nodes() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    api = ApiWork(world.node.submit, world.node.turns, world.node.inspections)
    call = api.execute(JoinGroups(HUB, EVERYONE, ("g",)))
    assert isinstance(call, asyncio.Future)
    assert not call.done()
    cluster.replies[0](Outcome(reached=2))
    assert await call == Outcome(reached=2)
    assert api.execute(Send(HUB, EVERYONE, b"42[1]")) == Outcome(reached=0)
    with pytest.raises(PeerError):
        api.execute(Send(HUB, EVERYONE, b"1"))


def test_an_answer_waits_for_a_call_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode()

    async def later(outcome: Outcome) -> Outcome:
        await asyncio.sleep(0.01)
        return outcome

    def execute(command: Command) -> Awaitable[Outcome]:
        return later(FakeNode.execute(node, command))

    monkeypatch.setattr(node, "execute", execute)
    with serving(node) as base:
        send = "/api/hubs/h/:send?api-version=2024-12-01"
        assert call(base, "POST", send, '42["hi",1]', content_type="text/plain").status == 202
        gone = "/api/hubs/h/connections/none?api-version=2024-12-01"
        assert call(base, "HEAD", gone).status == 404
    assert len(node.asked) == 2


def test_a_filter_over_many_connections_is_evaluated_in_steps() -> None:
    world = World()
    world.server()
    clients = [world.client("/") for _ in range(1_200)]
    condition = " or ".join(f"length(connectionId) eq {n}" for n in range(100, 160))
    found = compile_filter(f"({condition} or connectionId eq '{clients[7].id}')")
    outcome = world.node.carry_out(Send(HUB, Selection(filter=found), b'42["x"]'))
    assert not isinstance(outcome, Outcome)
    steps = 0
    while True:
        steps += 1
        try:
            next(outcome)
        except StopIteration as end:
            assert end.value == Outcome(reached=1)
            break
    assert steps > 20
    world.settle()
    assert heard(clients[7]) == [b'42["x"]']


async def test_many_calls_that_take_long_to_read_share_the_turns_of_the_loop() -> None:
    now = 0.0
    turn = 0
    turns: list[int] = []

    def slow() -> int:
        nonlocal now
        now += TURN_SECONDS / 2
        turns.append(turn)
        return len(turns)

    def bad() -> int:
        slow()
        raise PeerError(API_BAD_FILTER)

    reading = Reading(lambda: now)
    calls = [asyncio.create_task(reading.read(bad if number % 5 == 4 else slow)) for number in range(20)]
    while not all(call.done() for call in calls):
        turn += 1
        await asyncio.sleep(0)
    assert max(turns.count(number) for number in turns) <= 2
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [place for place, one in enumerate(found) if isinstance(one, PeerError)] == [4, 9, 14, 19]
    assert [one for one in found if isinstance(one, int)] == [n for n in range(1, 21) if n % 5]


async def test_a_caller_that_goes_away_does_not_hold_up_the_reading() -> None:
    now = 0.0

    def slow() -> str:
        nonlocal now
        now += TURN_SECONDS
        return "read"

    reading = Reading(lambda: now)
    calls = [asyncio.create_task(reading.read(slow)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    calls[1].cancel()
    assert await calls[2] == "read"
