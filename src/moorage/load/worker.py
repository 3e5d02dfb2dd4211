"""`python -m moorage.load.worker`: a process with a part of the clients.

It reads its plan and then the commands from standard input, one JSON object a line, and writes reports to
standard output. The end of standard input ends the load early; the last report still follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import sys
import time
from typing import Final

import msgspec
import uvloop

from moorage.load.crowd import Crowd, clock
from moorage.load.packets import Dialect
from moorage.load.plan import Go, Plan
from moorage.load.scenarios.base import Scenario, Stage, pause_until
from moorage.load.scenarios.choice import SCENARIOS
from moorage.load.tally import REPORT_SECONDS, Tally
from moorage.load.transports.target import resolve

GRACE_SECONDS: Final = 0.3
"""Seconds for the farewells of the clients."""


class Worker:
    """One run of one worker."""

    def __init__(self, number: int, plan: Plan, commands: asyncio.StreamReader) -> None:
        self._number = number
        self._plan = plan
        self._commands = commands
        self._tally = Tally()

    async def run(self) -> None:
        """All phases. Raises `OSError` if the server's name cannot be resolved."""
        target = await resolve(self._plan)
        crowd = Crowd(target, self._plan)
        stage = Stage(self._plan, self._tally, crowd, Dialect(self._plan.namespace))
        scenario = SCENARIOS[self._plan.scenario](stage)
        beside = [
            asyncio.create_task(self._report_regularly()),
            asyncio.create_task(crowd.watch(scenario.clients)),
        ]
        # The clients are there to stay, and nothing here makes cycles: a collection would only delay packets.
        gc.disable()
        try:
            await self._phases(scenario, crowd)
        finally:
            for task in beside:
                task.cancel()
        for client in scenario.clients:
            client.close()
        self._write("done")
        await asyncio.sleep(GRACE_SECONDS)

    async def _phases(self, scenario: Scenario, crowd: Crowd) -> None:
        ended = asyncio.create_task(self._commands.readline())
        await _first(asyncio.create_task(scenario.prepare()), ended)
        crowd.stop()
        self._write("ready")
        line = await ended
        if not line:
            return
        since = msgspec.json.decode(line, type=Go).at
        tally = self._tally
        tally.since = since + int(self._plan.warmup * 1e9)
        tally.until = tally.since + int(self._plan.duration * 1e9)
        await pause_until(since)
        ended = asyncio.create_task(self._commands.readline())
        await _first(asyncio.create_task(scenario.run(since, tally.until)), ended)
        tally.until = min(tally.until, clock())
        await scenario.settle()
        ended.cancel()

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._write()

    def _write(self, state: str = "") -> None:
        report = self._tally.report(self._number, time.process_time(), state)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


async def _first(work: asyncio.Task[None], ended: asyncio.Task[bytes]) -> None:
    """Run until the work is done, or cancelled because the input has ended."""
    await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def main() -> None:
    """Read the plan and run it."""
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    plan = msgspec.json.decode(await commands.readline(), type=Plan)
    await Worker(int(sys.argv[1]), plan, commands).run()


if __name__ == "__main__":
    # Ctrl-C reaches the whole process group; the command's process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Some systems call it unlimited and refuse that; then the limit stays.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))
    uvloop.run(main())
