"""Test files in JavaScript, each run by Node.js in its own process group, several at a time.

They start services and app servers, and then wait for most of their time: for grace times, heartbeats and
the retries of published SDKs. So they wait beside each other.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

SECONDS: Final = 240
"""Seconds for one file."""
TOGETHER: Final = 3
"""Files at a time. With more on two cores, one file would affect the times of another."""

ROOT: Final = Path(__file__).resolve().parents[2]


def asked_for(request: pytest.FixtureRequest, parameter: str) -> list[tuple[Path, ...]]:
    """The files that the selected tests of the module have in this parameter, in order."""
    chosen = (item for item in request.session.items if item.path == request.path)
    calls = [item.callspec for item in chosen if hasattr(item, "callspec")]
    return [(call.params[parameter],) for call in calls if parameter in call.params]


class NodeFiles:
    """The runs of `groups` of files, started in this order. Use as a context manager."""

    def __init__(self, groups: Iterable[tuple[Path, ...]], cwd: Path, *, together: int = TOGETHER) -> None:
        self._cwd = cwd
        self._processes: set[subprocess.Popen[str]] = set()
        self._over = False
        self._together = together
        self._pool = ThreadPoolExecutor(together, "node-files")
        self._runs: dict[tuple[Path, ...], Future[tuple[int, str]]] = {
            group: self._pool.submit(self._run, group) for group in groups
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in tuple(self._processes):
            _kill(process)
        self._pool.shutdown()

    def check(self, *files: Path, at_least: int) -> None:
        """Wait for the run of these files. Fails with its output unless all its tests have passed, and
        so many there were."""
        status, output = self._runs[files].result()
        assert status == 0, output
        passed = re.search(r" pass (\d+)$", output, re.MULTILINE)
        assert passed, output
        assert int(passed[1]) >= at_least, output

    def _run(self, files: tuple[Path, ...]) -> tuple[int, str]:
        # Published SDKs keep timers for half a minute after each connect, so the exit is forced.
        command = ["node", "--test-force-exit", "--test-reporter=spec"]
        if len(files) > 1:
            command += ["--test", f"--test-concurrency={self._together}"]
        command += map(str, files)
        process = subprocess.Popen(
            command,
            cwd=self._cwd,
            env=os.environ | {"MOORAGE_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            if self._over:
                _kill(process)
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            output, _ = process.communicate()
            return -1, f"not done after {SECONDS} s:\n{output}"
        finally:
            self._processes.discard(process)
        return process.returncode, output


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the process group: services and app servers are children of the test file."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
