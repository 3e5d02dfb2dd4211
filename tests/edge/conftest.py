"""What the tests of the edge share: a hub of its own and an app server for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from tests.support.app_link import AppServer
from tests.support.http_port import Port
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink

_numbers = count(1)


@pytest.fixture
def hub() -> str:
    """A name that no other test uses."""
    return f"hub_{next(_numbers)}"


@pytest.fixture
async def app(service: MoorageProcess, hub: str) -> AsyncIterator[AppServer]:
    """An app server of `hub` that echoes."""
    async with AppServer(service, hub) as running:
        yield running


@pytest.fixture
async def link(service: MoorageProcess, hub: str) -> AsyncIterator[TunnelLink]:
    """An app server of `hub` that speaks the moorage dialect and takes every client."""
    async with TunnelLink(service, hub) as running:
        yield running


@pytest.fixture(scope="module")
def quick() -> Iterator[MoorageProcess]:
    """A service that is quick to give up a link, and has little credit for it."""
    flags = ("--set", "links.window=65536", "--set", "links.heartbeat=500ms", "--set", "links.grace=2s")
    with MoorageProcess(*flags) as running:
        yield running


@pytest.fixture(params=["fast", "plain"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[Port]:
    """A listener on loopback, with and without the look at the first bytes."""
    made = Port(fast=request.param == "fast")
    server = await made.serve()
    yield made
    server.close()
    for connection in tuple(made.state.connections):
        connection.transport.abort()
