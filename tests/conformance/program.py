"""A program of `conformance/`, controlled by JSON lines on its stdin and stdout."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.support.freezing import freeze

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 60.0
"""Timeout in seconds. It is long, because the suite may share its machine; a successful wait is shorter."""

Line = dict[str, Any]
T = TypeVar("T")

_changed: Final = threading.Condition()
"""One condition for all programs, so that a wait can watch several."""


class Refused(Exception):
    """The program answered with an error: its name, message and data."""

    def __init__(self, error: Line) -> None:
        super().__init__(f"{error['name']}: {error['message']}")
        self.name: str = error["name"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


def pack(value: Any) -> Any:
    """Bytes as `{"$bytes": base64}`, anywhere in a JSON value."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: pack(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(member) for member in value]
    return value


def unpack(value: Any) -> Any:
    """The reverse of `pack`."""
    if isinstance(value, dict):
        if isinstance(value.get("$bytes"), str):
            return base64.b64decode(value["$bytes"])
        return {name: unpack(member) for name, member in value.items()}
    if isinstance(value, list):
        return [unpack(member) for member in value]
    return value


class Program:
    """Runs from its construction until `kill`. Only one thread at a time may use it."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._notices: list[Line] = []
        self._asked: dict[int, Future[Any]] = {}
        self._last = 0
        self._ended = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    # -- commands -------------------------------------------------------------------------------

    def start(self, do: str, **fields: Any) -> Future[Any]:
        """Start a command. Returns its future outcome."""
        future: Future[Any] = Future()
        with _changed:
            self._last += 1
            self._asked[self._last] = future
            line = json.dumps({"id": self._last, "do": do, **pack(fields)})
            if self._ended:
                future.set_exception(EOFError(f"{self.name} has ended"))
                return future
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        return future

    def call(self, do: str, **fields: Any) -> Any:
        """Run a command and return its value. Raises `Refused`."""
        return self.result(self.start(do, **fields), do)

    def result(self, future: Future[Any], what: str = "an answer") -> Any:
        """Wait for it. Raises `Refused`."""
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.name}: waited {PATIENCE} s for {what}") from None

    # -- notices --------------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """The number of notices so far."""
        return len(self._notices)

    def heard(self, since: int = 0, **fields: Any) -> list[Line]:
        """The notices since then that have all `fields`."""
        return [line for line in self._notices[since:] if _has(line, fields)]

    def index(self, notice: Line) -> int:
        """The index of a notice among all."""
        return next(at for at, line in enumerate(self._notices) if line is notice)

    def wait(self, since: int = 0, **fields: Any) -> Line:
        """Wait for the first of them."""
        found = self.wait_until(lambda: self.heard(since, **fields), f"a notice with {fields}")
        return found[0]

    def wait_until(self, look: Callable[[], T], what: str) -> T:
        """Wait until `look` returns a true value. It is called after each notice."""
        end = time.monotonic() + PATIENCE
        with _changed:
            while not (found := look()):
                left = end - time.monotonic()
                if left <= 0 or self._ended:
                    why = "it has ended" if self._ended else f"waited {PATIENCE} s"
                    raise AssertionError(f"{self.name}: {why} for {what}; heard {self._notices[-30:]}")
                _changed.wait(left)
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for text in output:
                if text.startswith("{"):
                    self._take(unpack(json.loads(text)))
                else:
                    # Other output (of a library with DEBUG set, for example) is part of the test's output.
                    sys.stderr.write(text)
        with _changed:
            self._ended = True
            for future in self._asked.values():
                future.set_exception(EOFError(f"{self.name} has ended"))
            self._asked.clear()
            _changed.notify_all()

    def _take(self, line: Line) -> None:
        with _changed:
            if "notice" in line:
                self._notices.append(line)
                _changed.notify_all()
                return
            future = self._asked.pop(line["id"])
        if "error" in line:
            future.set_exception(Refused(line["error"]))
        else:
            future.set_result(line.get("value"))

    # -- the end --------------------------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. After SIGSTOP the program stands still when this returns."""
        if number == signal.SIGSTOP:
            freeze(self._process.pid)
        else:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


def _has(line: Line, fields: Line) -> bool:
    return all(name in line and line[name] == value for name, value in fields.items())
