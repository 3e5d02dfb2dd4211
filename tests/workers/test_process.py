"""A worker's place: back-off, and processes that end. `test_supervisor` has whole workers."""

from __future__ import annotations

from moorage.config.model import Config
from moorage.workers.channel import Begin, Failed, FromWorker
from moorage.workers.process import BACK_OFF, STABLE_SECONDS, WorkerProcess


def test_a_worker_that_keeps_ending_is_started_less_often() -> None:
    worker = WorkerProcess("one", 0)
    pauses = [worker.pause(1.0) for _ in range(12)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == BACK_OFF[1]
    assert worker.pause(STABLE_SECONDS) == BACK_OFF[0]
    assert worker.pause(1.0) == 2 * BACK_OFF[0]


async def test_a_worker_that_cannot_start_says_why() -> None:
    worker = WorkerProcess("one", 0)
    assert (worker.running, worker.answers, worker.pid) == (False, False, 0)
    said: list[FromWorker] = []
    without_key = Begin(Config(), "one", "/nonexistent")
    assert await worker.run(without_key, said.append) == 1
    assert said == [Failed("unusable access key: HMAC key must not be empty.")]
    assert worker.state == "restarting"
    assert not worker.running
