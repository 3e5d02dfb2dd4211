"""Jobs in steps: order in one intake, fair shares between intakes, an end to each turn."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from moorage.hub.turns import TURN_SECONDS, TURN_WRITES, Intake, Job, Turns, finished
from tests.hub.fakes import HUB, World, heard

pytestmark = pytest.mark.repair(4)


class Loop:
    """A model of an event loop that has only turns. Each step of a job takes `STEP` seconds."""

    STEP = TURN_SECONDS / 9.5

    def __init__(self) -> None:
        self.world = World()
        self.now = 0.0
        self.asked = 0
        self.turns = Turns(self._ask, lambda: self.now, self.world.node.flusher)
        self.done: list[str] = []

    def _ask(self) -> None:
        self.asked += 1

    def turn(self) -> None:
        assert self.asked == 1
        self.asked = 0
        self.turns.run()

    def job(self, name: str, steps: int) -> Job[None]:
        for number in range(steps):
            self.now += self.STEP
            self.done.append(f"{name}{number}")
            yield False


def test_jobs_of_one_intake_run_in_order() -> None:
    loop = Loop()
    intake = Intake(loop.turns)
    intake.add(loop.job("a", 2))
    intake.add(loop.job("b", 2))
    assert len(intake) == 2
    loop.turn()
    assert loop.done == ["a0", "a1", "b0", "b1"]
    assert not intake.busy
    assert loop.asked == 0


def test_intakes_take_turns_step_by_step() -> None:
    loop = Loop()
    for name in "ab":
        Intake(loop.turns).add(loop.job(name, 3))
    loop.turn()
    assert loop.done == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_turn_ends_when_its_time_is_used_up_and_the_next_one_continues() -> None:
    loop = Loop()
    Intake(loop.turns).add(loop.job("a", 25))
    loop.turn()
    assert len(loop.done) == 10
    loop.turn()
    loop.turn()
    assert len(loop.done) == 25


def test_a_turn_ends_when_much_output_is_queued() -> None:
    world = World()
    world.server()
    clients = [world.client("/") for _ in range(TURN_WRITES)]

    def writing() -> Job[None]:
        for _ in range(3):
            for client in clients:
                world.send(client, b"42[1]")
            yield False

    Intake(world.node.turns).add(writing())
    world.tick()
    assert world.turns == 1, "another turn is asked for"
    assert {len(heard(client)) for client in clients} == {1}, "what the first step sent has left"
    world.settle()
    assert {len(heard(client)) for client in clients} == {3}


def test_new_work_starts_at_once_unless_a_turn_is_pending() -> None:
    loop = Loop()
    Intake(loop.turns).add(loop.job("a", 12))
    loop.turns.begin()
    assert len(loop.done) == 10
    Intake(loop.turns).add(loop.job("b", 1))
    loop.turns.begin()
    assert len(loop.done) == 10, "b waits for its turn"
    loop.turn()
    assert loop.done[10:] == ["a10", "b0", "a11"]
    loop.turns.begin()


def test_a_job_waits_until_it_is_woken() -> None:
    loop = Loop()
    intake = Intake(loop.turns)

    def waiting() -> Job[None]:
        loop.done.append("asked")
        yield True
        loop.done.append("woken")

    intake.add(waiting())
    loop.turn()
    assert (loop.done, loop.asked) == (["asked"], 0)
    intake.wake()
    intake.wake()
    loop.turn()
    assert loop.done == ["asked", "woken"]


def test_a_job_may_clear_its_own_intake() -> None:
    loop = Loop()
    intake = Intake(loop.turns)

    def ending() -> Job[None]:
        intake.clear()
        yield False
        raise AssertionError

    intake.add(ending())
    intake.add(loop.job("never", 1))
    loop.turn()
    assert loop.done == []
    assert not intake.busy


def test_a_cleared_intake_does_nothing_in_its_turn() -> None:
    loop = Loop()
    intake = Intake(loop.turns)
    intake.add(loop.job("never", 1))
    intake.clear()
    loop.turn()
    assert (loop.done, loop.asked) == ([], 0)


def test_a_defect_in_one_job_does_not_stop_others() -> None:
    loop = Loop()

    def broken() -> Generator[bool, None, None]:
        yield False
        raise ZeroDivisionError

    intake = Intake(loop.turns)
    intake.add(broken())
    intake.add(loop.job("a", 1))
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert loop.done == ["a0"]


def test_finished_runs_a_job_to_its_end() -> None:
    def adding() -> Job[int]:
        yield False
        yield False
        return 7

    assert finished(adding()) == 7


def test_the_loss_of_an_app_server_with_many_clients_takes_several_turns() -> None:
    world = World()
    server, _ = world.server()
    clients = [world.client("/") for _ in range(500)]
    world.node.drop_server(world.hub(), server)
    assert len(world.hub().directory.connections) == 500
    world.settle()
    assert world.node.connections == 0
    assert world.node.hub(HUB) is None
    assert [name for _, name, *_ in world.logged] == ["app-lost"] * len(clients)


def test_a_job_may_clear_its_own_intake_in_its_last_step() -> None:
    loop = Loop()
    intake = Intake(loop.turns)

    def ending() -> Job[None]:
        yield False
        intake.clear()

    intake.add(ending())
    intake.add(loop.job("never", 1))
    loop.turn()
    assert (loop.done, len(intake)) == ([], 0)


def test_turns_are_busy_while_a_job_can_go_on() -> None:
    loop = Loop()
    seen = [loop.turns.busy]
    Intake(loop.turns).add(loop.job("a", 2))
    seen.append(loop.turns.busy)
    loop.turn()
    assert [*seen, loop.turns.busy] == [False, True, False]
