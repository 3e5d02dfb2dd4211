"""The pool: as many threads as there are jobs that block, no more than allowed; queues keep order."""

from __future__ import annotations

import logging
import sys
import threading
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from moorage.sdk.threads import pool as threads_pool
from moorage.sdk.threads.pool import Pool, SerialQueue

SECONDS = 30.0


def wait(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def test_jobs_that_wait_for_each_other_all_run() -> None:
    pool = Pool(limit=8)
    barrier = threading.Barrier(9)
    for _ in range(8):
        pool.submit(lambda: barrier.wait(SECONDS))
    barrier.wait(SECONDS)
    assert pool.threads == 8
    pool.stop()


def test_an_idle_thread_is_used_again_and_never_promised_twice() -> None:
    pool = Pool(limit=400)
    for _ in range(200):
        # The first job ends only when the second has run: one idle thread must not get both.
        first, second = threading.Event(), threading.Event()

        def run_first(first: threading.Event = first, second: threading.Event = second) -> None:
            wait(second)
            first.set()

        pool.submit(run_first)
        pool.submit(second.set)
        wait(first)
    # A few, because a thread may not be idle yet when the next round begins.
    assert pool.threads < 100
    pool.stop()


def test_beyond_the_limit_jobs_wait_in_order() -> None:
    pool = Pool(limit=1)
    go, order, done = threading.Event(), list[int](), threading.Event()
    pool.submit(lambda: wait(go))
    for number in range(5):
        pool.submit(lambda number=number: order.append(number))  # type: ignore[misc]
    pool.submit(done.set)
    assert (pool.threads, order) == (1, [])
    assert pool.waiting >= 6
    go.set()
    wait(done)
    assert order == [0, 1, 2, 3, 4]
    pool.stop()


def test_a_job_that_fails_is_logged_and_its_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(limit=1)
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "moorage.sdk"):
        pool.submit(lambda: 1 / 0)
        pool.submit(done.set)
        wait(done)
    assert "ZeroDivisionError" in caplog.text
    assert pool.threads == 1
    pool.stop()


def test_a_job_that_comes_as_a_thread_falls_idle_is_not_counted_on_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool(limit=8)
    go, taken, done = threading.Event(), threading.Event(), threading.Event()
    start, later = threading.Thread.start, list[threading.Thread]()

    def block() -> None:
        taken.set()
        wait(go)

    class Late(SimpleQueue[Any]):
        """A job comes just after the first thread has found that there is none."""

        come = False

        def get_nowait(self) -> Any:
            try:
                return super().get_nowait()
            except Empty:
                if not self.come:
                    self.come = True
                    pool.submit(block)
                raise

    pool._jobs = Late()

    def put_off(thread: threading.Thread) -> None:
        later.append(thread)

    pool.submit(lambda: monkeypatch.setattr(threading.Thread, "start", put_off))
    wait(taken)  # by the first thread, for the second has not come
    monkeypatch.undo()
    start(later[0])
    while not pool._idle:
        done.wait(0.001)
    pool.submit(lambda: wait(go))
    pool.submit(done.set)
    wait(done)
    go.set()
    pool.stop()


def test_a_handler_that_exits_takes_no_thread_and_no_queue_with_it() -> None:
    pool = Pool(limit=1)
    queue, done = SerialQueue(pool), threading.Event()
    pool.submit(sys.exit)
    queue.add(sys.exit)
    queue.add(done.set)
    wait(done)
    assert pool.threads == 1
    pool.stop()


def test_threads_that_cannot_be_started_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool, ran = Pool(limit=2), list[int]()
    done = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(5):
            pool.submit(lambda number=number: ran.append(number))  # type: ignore[misc]
    assert pool.threads == 0
    assert caplog.text.count("can't start new thread") == 1
    pool.submit(done.set)
    wait(done)
    assert ran == list(range(5)), "none is lost"
    pool.stop()


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_pool, "IDLE_SECONDS", 0.01)
    pool = Pool(limit=4, name="idle-test")
    barrier = threading.Barrier(5)
    for _ in range(4):
        pool.submit(lambda: barrier.wait(SECONDS))
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("idle-test")]
    assert len(mine) == 4
    assert all(thread.daemon for thread in mine)
    barrier.wait(SECONDS)
    for thread in mine:
        thread.join(SECONDS)
    assert pool.threads == 0

    again = threading.Event()
    pool.submit(again.set)
    wait(again)
    pool.stop()


def test_stop_ends_idle_threads_and_drops_what_waits() -> None:
    pool = Pool(limit=1, name="stop-test")
    go, started, ran = threading.Event(), threading.Event(), list[int]()

    def block() -> None:
        started.set()
        wait(go)

    pool.submit(block)
    wait(started)
    pool.submit(lambda: ran.append(1))
    (thread,) = [thread for thread in threading.enumerate() if thread.name.startswith("stop-test")]
    pool.stop()
    pool.submit(lambda: ran.append(2))
    go.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert ran == []


def test_a_queue_runs_one_job_at_a_time_in_order_beside_other_queues() -> None:
    pool = Pool(limit=4)
    slow, quick = SerialQueue(pool), SerialQueue(pool)
    go, order, done = threading.Event(), list[int](), threading.Event()
    slow.add(lambda: wait(go))
    for number in range(100):
        slow.add(lambda number=number: order.append(number))  # type: ignore[misc]
    slow.add(done.set)
    assert not slow.idle

    other = threading.Event()
    quick.add(other.set)
    wait(other)
    assert order == []

    go.set()
    wait(done)
    assert order == list(range(100))
    pool.stop()


def test_a_job_that_fails_does_not_stop_its_queue() -> None:
    pool = Pool(limit=1)
    queue, done = SerialQueue(pool), threading.Event()
    queue.add(lambda: 1 / 0)
    queue.add(done.set)
    wait(done)
    pool.stop()
