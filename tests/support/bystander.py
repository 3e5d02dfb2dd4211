"""A separate hub with one app server and one client that makes round trips while others are busy.

A process, so that the load's own work is not measured. `python -m tests.support.bystander URL KEY HUB`
prints a line when it has begun; a line on its standard input has it print the round trips' times in
milliseconds as JSON and end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from moorage.wire.moorage import v1
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import ROOT, MoorageProcess
from tests.support.tunnel_link import TunnelLink

EVERY = 0.002


@contextlib.contextmanager
def measured(service: MoorageProcess, hub: str = "quiet") -> Iterator[list[float]]:
    """Makes round trips in another hub while the block runs. Afterwards the list holds their times,
    sorted, in milliseconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.bystander", service.url, service.key, hub],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        times: list[float] = []
        try:
            assert process.stdout.readline() == "begun\n"
            yield times
            process.stdin.write("end\n")
            process.stdin.flush()
            times += sorted(json.loads(process.stdout.readline()))
        finally:
            process.kill()


def quantile(times: list[float], share: float) -> float:
    """A quantile of sorted times."""
    return times[min(len(times) - 1, int(len(times) * share))]


async def _answer(link: TunnelLink) -> None:
    while True:
        packet = await link.frames.get()
        if isinstance(packet, v1.Packet) and packet.payload.startswith(b"421"):
            await link.say(v1.Packet(packet.client, b"431[]"))


async def _talk(url: str, key: str, hub: str) -> list[float]:
    service: Any = SimpleNamespace(url=url, key=key)
    loop = asyncio.get_running_loop()
    end = loop.run_in_executor(None, sys.stdin.readline)
    times: list[float] = []
    async with TunnelLink(service, hub) as link:
        answering = asyncio.create_task(_answer(link))
        async with await WebSocket.session(url, clients(hub)) as client:
            await client.send("40")
            await client.text()
            print("begun", flush=True)
            while not end.done():
                began = time.perf_counter()
                await client.send('421["x"]')
                while (packet := await client.text())[:2] != "43":
                    if packet == "2":
                        await client.send("3")
                times.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(EVERY)
        answering.cancel()
    return times


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_talk(*sys.argv[1:4]))), flush=True)
