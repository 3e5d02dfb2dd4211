"""REST calls in steps: in order, answered, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from moorage.control import work
from moorage.control.work import ApiWork, Reading
from moorage.hub.turns import TURN_SECONDS, Job
from moorage.wire.commands import DONE, NOT_FOUND, Command, Outcome, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.reasons import API_BAD_FILTER
from tests.control.rest_node import FakeNode, call, serving
from tests.hub.fakes import HUB, World, heard

pytestmark = pytest.mark.repair(4)


def job(outcome: Outcome | PeerError, steps: int = 3) -> Job[Outcome]:
    for _ in range(steps):
        yield False
    if isinstance(outcome, PeerError):
        raise outcome
    return outcome


async def test_calls_are_answered_one_after_another() -> None:
    world = World()
    api = ApiWork(world.node.turns)
    order: list[int] = []
    futures = [api.carry_out("App", job(found)) for found in (DONE, NOT_FOUND)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc]
    world.settle()
    assert [await future for future in futures] == [DONE, NOT_FOUND]
    await asyncio.sleep(0)
    assert order == [0, 1]


async def test_a_refusal_reaches_its_caller_and_no_other() -> None:
    world = World()
    api = ApiWork(world.node.turns)
    bad, good = api.carry_out("app", job(PeerError(API_BAD_FILTER))), api.carry_out("app", job(DONE))
    world.settle()
    with pytest.raises(PeerError):
        await bad
    assert await good == DONE


async def test_a_caller_that_has_gone_does_not_matter() -> None:
    world = World()
    api = ApiWork(world.node.turns)
    for outcome in (DONE, PeerError(API_BAD_FILTER)):
        api.carry_out("app", job(outcome)).cancel()
    last = api.carry_out("app", job(DONE))
    world.settle()
    assert await last == DONE


async def test_how_many_wait_is_bounded_in_each_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_WAITING", 2)
    world = World()
    api = ApiWork(world.node.turns)
    futures = [api.carry_out("app", job(DONE)) for _ in range(2)]
    with pytest.raises(PeerError) as refused:
        api.carry_out("APP", job(DONE))
    assert refused.value.reason.name == "api-busy"
    futures.append(api.carry_out("other", job(DONE)))
    world.settle()
    assert [await future for future in futures] == [DONE] * 3
    assert await asyncio.wait_for(_later(world, api), 5) == DONE


async def _later(world: World, api: ApiWork) -> Outcome:
    future = api.carry_out("app", job(DONE))
    world.settle()
    return await future


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
    outcome = world.node.begin(Send(HUB, Selection(filter=found), b'42["x"]'))
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
