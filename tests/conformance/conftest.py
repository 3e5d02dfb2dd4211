"""The cells of the matrix: {SDKs} x {transports}. Processes live as long as the session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.apps import App, linked
from tests.conformance.capabilities import SDKS
from tests.conformance.cells import Cell, cells
from tests.conformance.clients import ClientProcess
from tests.conformance.fleet import Fleet
from tests.conformance.stage import Stage
from tests.conformance.suite import Place, place
from tests.integration.test_nodes import nodes
from tests.support.leftovers import Leftovers
from tests.support.nats_server import NatsServer
from tests.support.service import MoorageProcess

Apps = Callable[..., App]

FORWARDED = os.environ.get("CONFORMANCE") == "forwarded"
"""True if app servers and clients are at different nodes of a cluster."""
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stock clients are Node.js programs."""
    here = str(HERE)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("node")


@pytest.fixture(scope="session")
def running(leftovers: Leftovers) -> Iterator[MoorageProcess]:
    """The service of all cells. A hub for each SDK."""
    # A client that does not read is part of a scenario and shall not be closed for it.
    flags = (f"limits.outbox_bytes={32 * 2**20}", "server.trusted_proxies=127.0.0.0/8")
    if not FORWARDED:
        with MoorageProcess(*(f"--set={flag}" for flag in flags)) as service:
            leftovers.spare()
            yield service
        return
    with NatsServer() as nats, nodes(nats, host=flags, owner=flags) as (host, owner):
        owner.link_url = host.url
        leftovers.spare()
        yield owner


@pytest.fixture(scope="session")
def client_process(leftovers: Leftovers) -> Iterator[ClientProcess]:
    """All clients of the session."""
    process = ClientProcess()
    leftovers.spare()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def app_of(running: MoorageProcess, leftovers: Leftovers) -> Iterator[Apps]:
    """An app server by name, started when first asked for."""
    apps: dict[str, App] = {}

    def app(name: str, *, sdk: str, hub: str, **options: Any) -> App:
        if name not in apps:
            apps[name] = linked(sdk, running, hub, **options)
            apps[name].call("define", ns="/")
            leftovers.spare()
        return apps[name]

    yield app
    for made in apps.values():
        made.kill()


@pytest.fixture(params=["websocket", "polling"])
def transport(request: pytest.FixtureRequest) -> str:
    """How clients come."""
    name: str = request.param
    return name


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    """What the app server was built with."""
    name: str = request.param
    return name


@pytest.fixture
def stage(
    running: MoorageProcess, app_of: Apps, client_process: ClientProcess, sdk: str, transport: str
) -> Iterator[Stage]:
    """One cell, for one scenario."""
    hub = f"Hub_{sdk}"
    app = app_of(hub, sdk=sdk, hub=hub, maxHttpBufferSize=4_000_000)
    with Stage(running, hub, [app], client_process, transport) as made:
        yield made


@pytest.fixture
def fleet(running: MoorageProcess, app_of: Apps, client_process: ClientProcess) -> Iterator[Fleet]:
    """One hub with an app server of every kind."""
    apps = [app_of(f"Fleet_{sdk}", sdk=sdk, hub="Fleet", requestsTimeout=4_000) for sdk in SDKS]
    with Fleet(running, "Fleet", apps, client_process, "websocket") as made:
        yield made


@pytest.fixture
def strict(running: MoorageProcess, app_of: Apps, client_process: ClientProcess) -> Iterator[list[Stage]]:
    """App servers of every kind that want to hear their clients' hearts beat all the time, and take
    nobody with the header `x-turn-away`."""
    options: dict[str, Any] = {"pingInterval": 400, "pingTimeout": 3_000, "turnAway": "x-turn-away"}
    with ExitStack() as stages:
        yield [
            stages.enter_context(
                Stage(
                    running,
                    f"Strict_{sdk}",
                    [app_of(f"Strict_{sdk}", sdk=sdk, hub=f"Strict_{sdk}", **options)],
                    client_process,
                    "websocket",
                )
            ).define()
            for sdk in SDKS
        ]


@pytest.fixture(scope="session", params=(*SDKS, "native"))
def server(running: MoorageProcess, leftovers: Leftovers, request: pytest.FixtureRequest) -> Iterator[Place]:
    """An app server on the terms of the protocols' own suites."""
    with place(request.param, running) as found:
        leftovers.spare()
        yield found


@pytest.fixture(scope="module")
def cell_of(running: MoorageProcess, client_process: ClientProcess) -> Iterator[Callable[..., Cell]]:
    """An app server with recovery, by SDK, transport and options."""
    with cells(running, client_process) as make:
        yield make
