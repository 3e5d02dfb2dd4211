"""What the tests of a file leave behind is named with that file, and does not fail a later one.

A thread that goes on, a child process that nobody ends, or garbage whose end is a warning (an open socket)
disturbs whatever test runs at that moment. So each file is judged at its end, when the fixtures of its module
have ended too.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 10.0
"""How long threads and processes that were told to end may take."""

HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes of the standard library that end with this one."""

_TASKS = Path("/proc/self/task")


def _children() -> set[int]:
    """Process ids of this process's children; none on a system that does not say so."""
    found: set[int] = set()
    with suppress(OSError):
        for task in os.listdir(_TASKS):
            # A thread may have ended since.
            with suppress(OSError):
                found.update(map(int, (_TASKS / task / "children").read_text().split()))
    return found


def _runs(pid: int) -> bool:
    """True if the process has not ended. One that has ended and was not waited for disturbs nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def _unraisable() -> Iterator[list[str]]:
    """Errors that Python cannot raise within the block, such as those of a destructor, as text. With
    `PYTHONTRACEMALLOC=10` they name the place where the object was made."""
    found: list[str] = []

    def keep(about: sys.UnraisableHookArgs) -> None:
        place = tracemalloc.get_object_traceback(about.object)
        lines = place.format() if place else ()
        found.append("\n".join([f"{about.object!r}: {about.exc_value!r}", *lines]))

    before = sys.unraisablehook
    sys.unraisablehook = keep
    try:
        yield found
    finally:
        sys.unraisablehook = before


class Leftovers:
    """Threads and processes that tests have started since the last file ended."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        self._threads = dict.fromkeys(threading.enumerate(), "")
        """The test at whose end a thread was first seen, or an empty string for a thread that may go on."""
        self._children = _children()

    def spare(self) -> None:
        """Report nothing that was started since the last test ended, because it belongs to the session."""
        self.note("")
        self._children |= _children()

    def note(self, test: str) -> None:
        """`test` has ended. New threads are its own, or belong to a fixture of its module."""
        for thread in threading.enumerate():
            self._threads.setdefault(thread, test)

    def end_file(self) -> list[str]:
        """What the tests of a file have left, one line each. Waits for what is about to end."""
        deadline = time.monotonic() + self._seconds
        found = [*self._left_threads(deadline), *self._left_children(deadline)]
        with _unraisable() as errors:
            gc.collect()
        self._start()
        return found + [f"garbage: {error}" for error in errors]

    def _left_threads(self, deadline: float) -> Iterator[str]:
        for thread, test in self._threads.items():
            if test:
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    yield f"the thread {thread.name!r} of {test}"

    def _left_children(self, deadline: float) -> Iterator[str]:
        for child in _children() - self._children:
            command = _command(child)
            if any(helper in command for helper in HELPERS):
                continue
            while _runs(child) and time.monotonic() < deadline:
                time.sleep(0.01)
            if _runs(child):
                yield f"the process {child}: {command}"
