"""`make run`: Moorage and a sample chat side by side, until Ctrl-C or SIGTERM ends both.

Each is ready when it says so: Moorage when it has printed its connection string and answers
`/readyz`, the chat when it serves its page, which it does once it is linked. Nothing sleeps for a
guessed time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

QUIET = ("Connection string", "Clients ", "Health ", "Metrics ")
"""Lines of the service's start that are not shown, so that only one address is on the screen."""
ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
HUB = "chat"
EXAMPLES = {
    "python": (sys.executable, "-m", "uvicorn", "app:app", "--log-level", "warning"),
    "flask": (sys.executable, "app.py"),
    "node": ("node", "index.mjs"),
    "azure": ("node", "index.mjs"),
}
"""Name -> command that starts the app server in `examples/chat-NAME`. HOST and PORT are its address
(uvicorn gets options instead), MOORAGE_CONNECTION_STRING is the service."""
START_SECONDS = 30.0
STOP_SECONDS = 5.0
"""Seconds to wait after each of the two signals."""


class StartError(Exception):
    """A part ended or did not become ready."""


def free_port(wanted: int) -> int:
    """`wanted` if nothing listens there, else any free port of the loopback address."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # Like the servers; without it the port of an ended run stays in use for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartError("no free port on the loopback address")


def pick_port(name: str, wanted: int) -> int:
    """Like `free_port`, and print a line if another port is used."""
    port = free_port(wanted)
    if wanted not in (0, port):
        print(f"  Port {wanted} is taken; {name} uses {port}", flush=True)
    return port


class Part:
    """A child process in its own session, so that the terminal's Ctrl-C reaches only this program, which ends
    the parts in order."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process
        self._echo: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, *command: str, env: dict[str, str], cwd: Path) -> Part:
        """Raises `StartError` if the program is missing."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=PIPE, stdin=DEVNULL, start_new_session=True, cwd=cwd, env=os.environ | env
            )
        except FileNotFoundError as error:
            raise StartError(f"{command[0]} is not installed") from error
        return cls(name, process)

    async def line_after(self, prefix: str) -> str:
        """The rest of the first line of output that begins with `prefix`."""
        assert self._process.stdout is not None
        while raw := await self._process.stdout.readline():
            line = raw.decode(errors="replace").rstrip()
            show(line)
            if line.strip().startswith(prefix):
                self.pass_on()
                return line.strip().removeprefix(prefix).strip()
        raise StartError(f"{await self.ended()} before it was ready")

    async def answers(self, url: str) -> None:
        """Wait until `url` answers with a 2xx status."""
        while not await asyncio.to_thread(answers, url):
            if self._process.returncode is not None:
                raise StartError(f"{await self.ended()} before it was ready")
            await asyncio.sleep(0.05)  # between two questions, not instead of them

    def pass_on(self) -> None:
        """Print the part's output from now on."""
        self._echo = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        assert self._process.stdout is not None
        while raw := await self._process.stdout.readline():
            show(raw.decode(errors="replace").rstrip())

    async def ended(self) -> str:
        """Wait for the end. Returns a sentence about it."""
        return f"{self.name} ended with status {await self._process.wait()}"

    async def stop(self) -> None:
        """Send SIGTERM, again if the service is still draining, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is not None:
                break
            # Signal the whole session, because a part may have child processes.
            os.killpg(self._process.pid, number)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                continue
        if self._echo is not None:
            self._echo.cancel()


def show(line: str) -> None:
    """One line of a part's output."""
    if not line.startswith(QUIET):
        print(line, flush=True)


def answers(url: str) -> bool:
    """True once `url` answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            status: int = response.status
    except (urllib.error.URLError, OSError):
        return False
    return 200 <= status < 300


async def start_service(parts: list[Part], port: int, workers: str) -> str:
    """Start Moorage on `port` and wait until it is ready. Returns its connection string."""
    command = [sys.executable, "-m", "moorage", "dev", "--host", HOST, "--port", str(port), "--hub", HUB]
    command += ["--workers", workers]
    # Close clients at once: there is no load balancer.
    command += ["--set", "shutdown.lb_wait=0s"]
    service = await Part.start("Moorage", *command, env={"PYTHONUNBUFFERED": "1"}, cwd=ROOT)
    parts.append(service)
    connection_string = await service.line_after("Connection string")
    await service.answers(f"http://{HOST}:{port}/readyz")
    return connection_string


async def start_chat(parts: list[Part], example: str, port: int, connection_string: str) -> str:
    """Start an example's app server and wait for its page. Returns the page's address."""
    command = list(EXAMPLES[example])
    if "uvicorn" in command:
        command += ["--host", HOST, "--port", str(port)]
    env = {"MOORAGE_CONNECTION_STRING": connection_string, "PORT": str(port), "HOST": HOST}
    env["PYTHONUNBUFFERED"] = "1"
    chat = await Part.start("The chat", *command, env=env, cwd=ROOT / "examples" / f"chat-{example}")
    parts.append(chat)
    chat.pass_on()
    page = f"http://{HOST}:{port}/"
    await chat.answers(page)
    return page


async def run(parts: list[Part], example: str, service_port: int, page_port: int, workers: str) -> str:
    """Start both and wait until one of them ends. Returns a sentence about it."""
    async with asyncio.timeout(START_SECONDS):
        print("  Starting Moorage ...", flush=True)
        connection_string = await start_service(parts, pick_port("Moorage", service_port), workers)
        endpoint = connection_string.removeprefix("Endpoint=").partition(";")[0]
        print(f"  Moorage is ready at {endpoint}. Starting the chat ({example}) ...", flush=True)
        page = await start_chat(parts, example, pick_port("the page", page_port), connection_string)
    print(f"\n  Open  {page}   (Ctrl-C ends everything)\n", flush=True)
    done, _ = await asyncio.wait(
        [asyncio.create_task(part.ended()) for part in parts], return_when=asyncio.FIRST_COMPLETED
    )
    return next(iter(done)).result()


async def main() -> int:
    """Returns the exit status: 0 after a signal, 1 if a part failed."""
    parser = argparse.ArgumentParser(description="Moorage and a sample chat, until Ctrl-C")
    parser.add_argument("--example", choices=EXAMPLES, default="python", help="the example to run")
    parser.add_argument("--port", type=int, default=8080, help="Moorage's port")
    parser.add_argument("--page-port", type=int, default=3000, help="the chat page's port")
    parser.add_argument("--workers", default="1", help="processes of Moorage; auto: one for each CPU")
    options = parser.parse_args()

    parts: list[Part] = []
    running = asyncio.create_task(
        run(parts, options.example, options.port, options.page_port, options.workers)
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        problem = await running
    except asyncio.CancelledError:
        return 0
    except TimeoutError:
        problem = f"not everything was ready within {START_SECONDS:.0f} s"
    except StartError as error:
        problem = str(error)
    finally:
        # Stop the app server first, so that it can close its link.
        for part in reversed(parts):
            await part.stop()
    print(f"moorage: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
