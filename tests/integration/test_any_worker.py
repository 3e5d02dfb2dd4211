"""Stock clients of a service with two workers: the kernel gives each request to any worker."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from moorage.wire.ids import incarnation_of
from tests.support.app_link import AppServer
from tests.support.pages import ROOT
from tests.support.programs import running
from tests.support.rawhttp import Polling, clients
from tests.support.service import MoorageProcess

COUNT = 12

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def workers() -> Iterator[MoorageProcess]:
    with MoorageProcess("--workers", "2") as service:
        yield service


def total(service: MoorageProcess, name: str) -> float:
    """The sum of a metric over all workers."""
    text = service.get("/metrics")[1].decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


@asynccontextmanager
async def linked(service: MoorageProcess, hub: str) -> AsyncIterator[None]:
    """An app server that all workers know. Each connection goes to any worker, so many in a row succeed."""
    async with AppServer(service, hub), asyncio.timeout(30):
        served = 0
        while served < 16:
            polling = Polling(service.url, clients(hub))
            reply = await polling.get()
            served = served + 1 if reply.status == 200 else 0
        yield


@pytest.mark.parametrize("kept", [True, False], ids=["keep-alive", "close"])
async def test_stock_clients_with_an_upgrade(kept: bool, workers: MoorageProcess) -> None:
    hub = f"hub_{kept}"
    before = await asyncio.to_thread(total, workers, "moorage_cluster_passed_connections_total")
    script = str(ROOT / "tests/examples/balanced_clients.mjs")
    arguments = [script, workers.url, clients(hub), str(COUNT), str(kept).lower()]
    async with linked(workers, hub), running("node", *arguments, env={}, cwd=ROOT) as program:
        sids = json.loads(await program.line_with("["))
    assert len({incarnation_of(sid) for sid in sids}) == 2
    passed = await asyncio.to_thread(total, workers, "moorage_cluster_passed_connections_total")
    assert passed > before
    assert await asyncio.to_thread(total, workers, "moorage_cluster_relays_total") == 0


async def test_each_request_on_a_new_connection(workers: MoorageProcess) -> None:
    async with linked(workers, "each"):
        for _ in range(4):
            polling = await Polling(workers.url, clients("each")).open()
            await polling.send("40")
            assert (await polling.poll()).startswith("40{")
            for number in range(5):
                await polling.send(f'42["echo",{number}]')
                assert await polling.poll() == f'42["echo",{number}]'
