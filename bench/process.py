"""A process with its CPU clock and resident memory; a child also with its log and end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.errors import BenchError

_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL = 0.01

T = TypeVar("T")


class Measured(Protocol):
    """What can be measured as one: a process, or several."""

    def cpu(self) -> int:
        """Nanoseconds on a CPU since its start."""
        ...

    def rss(self) -> int:
        """Resident bytes."""
        ...

    def settle(self) -> None:
        """Wait until it is idle."""
        ...


class Observed:
    """A running process, started here or elsewhere."""

    def __init__(self, pid: int, name: str) -> None:
        self.pid = pid
        self.name = name
        clock = ctypes.c_int()
        if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
            raise BenchError(f"no CPU clock for {name}")
        self._clock = clock.value

    def cpu(self) -> int:
        """Nanoseconds on a CPU since its start, user and kernel, all threads, also ended ones.

        The kernel's process clock: the same count as the threads' `/proc/PID/task/*/schedstat`
        added up, in one call; `/proc/PID/stat` would round to 10 ms.
        """
        return time.clock_gettime_ns(self._clock)

    def rss(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"{self.name} has ended")

    def settle(self, limit: float = 2.0) -> None:
        """Wait until it is idle (asleep, and under 1 ms of CPU in 20 ms), at most `limit` seconds.

        Asleep, too: on a busy machine a process with work to do may get no CPU for a while.
        """
        deadline = time.monotonic() + limit
        before = self.cpu()
        while time.monotonic() < deadline:
            time.sleep(0.02)
            now = self.cpu()
            if now - before < 1_000_000 and not self._wants_cpu():
                return
            before = now

    def _wants_cpu(self) -> bool:
        """True if its main thread, which does the work in all targets, is running or ready to run."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat[stat.rindex(")") + 2] == "R"


@dataclass(frozen=True)
class Together:
    """Several processes, measured as one."""

    parts: tuple[Measured, ...]

    def cpu(self) -> int:
        """The sum of their clocks."""
        return sum(part.cpu() for part in self.parts)

    def rss(self) -> int:
        """The sum of their resident bytes."""
        return sum(part.rss() for part in self.parts)

    def settle(self) -> None:
        """Wait until each of them has been idle."""
        for part in self.parts:
            part.settle()


class Process(Observed):
    """Started at once, with `log` as its standard output and error.

    A file instead of pipes: nothing has to be drained while the generator is busy, and a child
    never blocks on a log line inside a measured window.
    """

    def __init__(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=env
            )
        super().__init__(self._child.pid, log.stem)

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._child.wait()

    def send(self, command: Mapping[str, int | str]) -> None:
        """One JSON line to its standard input."""
        stream = self._child.stdin
        assert stream is not None
        try:
            stream.write(json.dumps(command).encode() + b"\n")
            stream.flush()
        except OSError as error:
            raise BenchError(f"{self.name} does not listen: {error}\n{self.log_tail()}") from error

    def wait_line(self, match: Callable[[str], T | None], *, seconds: float = 20.0) -> T:
        """The first value other than None that `match` makes of a log line.

        Raises `BenchError` when the process ends first, or after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            ended = self._child.poll() is not None
            for line in self.lines():
                if (value := match(line)) is not None:
                    return value
            if ended or time.monotonic() > deadline:
                state = f"ended with {self._child.returncode}" if ended else f"not ready in {seconds:.0f} s"
                raise BenchError(f"{self.name} {state}\n{self.log_tail()}")
            time.sleep(_POLL)

    def wait_open(self, address: tuple[str, int], *, seconds: float = 20.0) -> None:
        """Wait until it accepts connections. Raises `BenchError` like `wait_line`."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), socket.create_connection(address, 1.0):
                return
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} does not listen\n{self.log_tail()}")
            time.sleep(_POLL)

    def lines(self) -> list[str]:
        """The whole lines of its output so far."""
        text = self._log.read_text(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def log_tail(self, lines: int = 8) -> str:
        """The end of its output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Terminate it, and kill it after 3 seconds."""
        if self._child.stdin is not None:
            # A broken pipe means that it has ended already.
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        self._child.terminate()
        try:
            self._child.wait(3.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def ready_facts(line: str) -> dict[str, object] | None:
    """The `{"ready":true,...}` line of our own servers, parsed; None for any other line."""
    if not line.startswith('{"ready":true'):
        return None
    facts: dict[str, object] = json.loads(line)
    return facts
