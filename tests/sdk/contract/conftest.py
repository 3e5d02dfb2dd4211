"""Every test of this folder runs with handlers in tasks and in threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sdk.contract.executors import Case, Executor
from tests.sdk.service_peer import ServicePeer


@pytest.fixture(params=["asyncio", "threads"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


@pytest.fixture
def options() -> dict[str, Any]:
    """Options of the server; a test may set others by `parametrize`."""
    return {}


@pytest.fixture
async def case(executor: Executor, peer: ServicePeer, options: dict[str, Any]) -> AsyncIterator[Case]:
    made = await Case(executor, peer, executor.server(namespaces=["/", "/chat"], **options)).start()
    yield made
    await executor.call(made.moorage.close)
