"""The threads that handlers run in, and the order of one client's jobs.

python-socketio's threading mode has one thread for each client and a new one for each event. Here threads are
taken from a pool, since a client is no connection of this process, and starting a thread costs more than many
a handler. All are daemons: a handler that never returns must not keep the process from ending."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

IDLE_SECONDS: Final = 10.0
"""Seconds after which a thread without a job ends."""

Job = Callable[[], object]

_log = logging.getLogger("moorage.sdk")


class Pool:
    """Up to `limit` threads. Jobs beyond that wait, in order."""

    def __init__(self, limit: int, name: str = "moorage") -> None:
        self.limit = limit
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._started = 0
        self._starved = False
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return self._jobs.qsize()

    @property
    def threads(self) -> int:
        """Number of threads now."""
        return self._threads

    def submit(self, job: Job) -> None:
        """Run `job` soon. After `stop` it is dropped."""
        with self._lock:
            if self._stopped:
                return
            self._jobs.put(job)
            if self._idle:
                # This idle thread is taken. Two jobs must not count on the same thread: the second
                # would wait for the first, which may be waiting for it.
                self._idle -= 1
                return
            if self._threads >= self.limit:
                return
            self._threads += 1
            self._started += 1
            number = self._started
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()
        except RuntimeError as error:
            self._not_started(error)
        else:
            self._starved = False

    def _not_started(self, error: RuntimeError) -> None:
        """The system gives no more threads. The job waits for an existing thread or the next one."""
        with self._lock:
            self._threads -= 1
        if not self._starved:
            self._starved = True
            _log.error("no thread for a handler (%s): there are %d", error, self._threads)

    def stop(self) -> None:
        """Ends the threads once they are idle; what waits is dropped. Does not wait for handlers."""
        with self._lock:
            self._stopped = True
            while self._take() is not None:
                pass
            for _ in range(self._threads):
                self._jobs.put(None)

    def _take(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:
                # The thread is not the job's: the next one wants it, even after `sys.exit()`.
                _log.exception("A handler failed")
            del job  # what it refers to must not live on while the thread is idle

    def _next(self) -> Job | None:
        """The next job, or None when this thread shall end."""
        try:
            return self._jobs.get_nowait()
        except Empty:
            pass
        with self._lock:
            # Once more: for a job that came before this thread counts as idle, another was started.
            try:
                return self._jobs.get_nowait()
            except Empty:
                self._idle += 1
        try:
            return self._jobs.get(timeout=IDLE_SECONDS)
        except Empty:
            pass
        with self._lock:
            # `submit` puts under the lock: what is not there now was not promised to this thread.
            job = self._take()
            if job is None:
                self._idle = max(0, self._idle - 1)
                self._threads -= 1
            return job


class SerialQueue:
    """One client's jobs: one after another, in order, each on some thread of the pool."""

    __slots__ = ("_jobs", "_lock", "_pool", "_running", "_thread")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._running = False
        self._thread = 0

    @property
    def is_here(self) -> bool:
        """True if the caller is one of its jobs."""
        return self._thread == threading.get_ident()

    @property
    def idle(self) -> bool:
        """True if nothing runs and nothing waits."""
        return not self._running

    def add(self, job: Job) -> None:
        """Run `job` after all earlier jobs."""
        with self._lock:
            self._jobs.append(job)
            if self._running:
                return
            self._running = True
        self._pool.submit(self._run)

    def _run(self) -> None:
        self._thread = threading.get_ident()
        while True:
            try:
                self._jobs.popleft()()
            except BaseException:  # as in `Pool`
                _log.exception("A handler failed")
            with self._lock:
                if not self._jobs:
                    self._thread = 0
                    self._running = False
                    return
