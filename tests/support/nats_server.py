"""A real `nats-server` on loopback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.support.freezing import freeze
from tests.support.programs import free_port

PROGRAM = Path(sys.executable).with_name("nats-server")


class NatsServer:
    """Use as a context manager. `end` and `start` may follow each other; the port stays the same. `inside`
    goes in front of the command, such as to start it in a network namespace."""

    def __init__(self, *flags: str, host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self.url = f"nats://{host}:{self.port}"
        self._command = (*inside, str(PROGRAM), "-a", host, "-p", str(self.port), *flags)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Server is ready" in line:
                return
        raise AssertionError("".join(lines))

    def pause(self) -> None:
        """Let it stand still."""
        assert self._process is not None
        freeze(self._process.pid)

    def go_on(self) -> None:
        """End a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Let it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
