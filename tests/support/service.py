"""A real `moorage dev` process on loopback, port 0."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.freezing import freeze

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


class MoorageProcess:
    """Use as a context manager. `lines` collects the process's output; JSON logs are parsed
    by `records`. `inside` goes in front of the command, such as to start it in a network namespace."""

    def __init__(
        self,
        *flags: str,
        command: str = "dev",
        env: dict[str, str] | None = None,
        key: str = "",
        inside: tuple[str, ...] = (),
    ) -> None:
        self.key = key or secrets.token_hex(16)
        self.lines: list[str] = []
        self.url = ""
        self.link_url = ""
        """Where app servers open their links, if that is another node."""
        self._changed = threading.Condition()
        arguments = [*inside, sys.executable, "-m", "moorage", command, "--set", "log.format=json"]
        if command == "dev":
            arguments += ["--port", "0", "--access-key", self.key]
        elif "-c" not in flags:
            arguments += ["--port", "0", "--set", f"keys.primary={self.key}"]
        self._process = subprocess.Popen(
            [*arguments, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> MoorageProcess:
        heard = ("Connection string", '"ready"', '"listening"')
        line = self.wait_line(lambda text: any(word in text for word in heard))
        found = re.search(r"Endpoint=([^;]+);", line) or re.search(r'"url": ?"([^"]+)"', line)
        assert found, line
        self.url = found[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "COVERAGE_PROCESS_CONFIG" in os.environ and self._process.poll() is None:
            # A killed process would lose what `make coverage` has measured in it. The second signal cuts
            # short the time that the service gives its clients.
            for seconds in (1, 10):
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
        self.kill()

    @property
    def connection_string(self) -> str:
        """The connection string that `moorage dev` prints."""
        return f"Endpoint={self.link_url or self.url};AccessKey={self.key};Version=1.0;"

    @property
    def pid(self) -> int:
        """Process id of the service."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self.lines.append("(end)")
            self._changed.notify_all()

    def wait_line(self, wanted: Callable[[str], bool], timeout: float = START_SECONDS) -> str:
        """The first matching line of output. Without one the test fails and shows all output."""

        def found() -> str | None:
            return next((line for line in self.lines if wanted(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or "(end)" in self.lines, timeout)
            line = found()
        assert line is not None, "\n".join(self.lines)
        return line

    def wait_record(self, timeout: float = START_SECONDS, **fields: object) -> dict[str, Any]:
        """The first JSON log line that has all `fields`."""

        def wanted(line: str) -> bool:
            if not line.startswith("{"):
                return False
            record = json.loads(line)
            return all(record.get(name) == value for name, value in fields.items())

        record: dict[str, Any] = json.loads(self.wait_line(wanted, timeout))
        return record

    def memory(self, name: str) -> int:
        """A line of the process's memory status (`VmRSS`, `VmHWM`), in bytes. Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise ValueError(name)

    def get(self, path: str) -> tuple[int, bytes]:
        """A plain HTTP GET: status and body, errors included."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metric(self, name: str) -> float:
        """One sample of `/metrics`, by its full name with labels; 0 if it does not exist yet."""
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. After SIGSTOP the service stands still when this returns."""
        if number == signal.SIGSTOP:
            freeze(self._process.pid)
        else:
            self._process.send_signal(number)

    def wait_exit(self, timeout: float = 40.0) -> int:
        """The exit code, once all output has been read."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def kill(self) -> None:
        """Kill it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        # Close it here, because the garbage collector would warn during another test.
        self._reader.join(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._reader.join(START_SECONDS)
