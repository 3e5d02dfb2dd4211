"""Stock clients reconnect after every stop, but not after a disconnect by the app."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.conformance.apps import App, linked
from tests.conformance.capabilities import SDKS, shows
from tests.conformance.clients import ClientProcess
from tests.conformance.returning import Returning, crew
from tests.conformance.stage import Space, Stage, fresh
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(24)

SENT_AWAY = ("io server disconnect", "server disconnect")
"""A client that reports this does not reconnect."""


@pytest.fixture
def alone(running: MoorageProcess, client_process: ClientProcess, sdk: str) -> Iterator[Stage]:
    """A hub with one app server that a scenario may end."""
    hub = fresh("Return_")
    app = linked(sdk, running, hub)
    try:
        with Stage(running, hub, [app], client_process, "websocket") as stage:
            stage.unwanted.discard("link")
            yield stage.define()
    finally:
        app.kill()


def all_come_back(clients: list[Returning]) -> None:
    for client in clients:
        client.wait_connects(2)


@pytest.mark.parametrize("sdk", SDKS)
@shows("disconnect-reason")
def test_an_app_server_is_closed(alone: Stage, sdk: str) -> None:
    clients: list[Returning] = []
    other = App(sdk)
    try:
        clients += crew(alone)
        other.link(alone.service.connection_string, alone.hub)
        Space(other, alone.ns).define()
        alone.space.app.start("close")
        all_come_back(clients)
    finally:
        for client in clients:
            client.close()
        other.kill()


@pytest.mark.parametrize("sdk", SDKS)
@shows("disconnect-reason")
def test_the_service_is_stopped(client_process: ClientProcess, sdk: str) -> None:
    hub = fresh("Return_")
    clients: list[Returning] = []
    # Not a port for outgoing connections: while nothing listens there, a client's attempt may take it.
    port = f"--port={free_port()}"
    with MoorageProcess(port, "--set", "shutdown.lb_wait=0s", "--set", "shutdown.spread=0.3s") as first:
        app = linked(sdk, first, hub)
        try:
            with Stage(first, hub, [app], client_process, "websocket") as stage:
                stage.unwanted.discard("link")
                clients += crew(stage.define())
                first.signal(signal.SIGTERM)
                assert first.wait_exit() == 0
                with MoorageProcess(port, key=first.key):
                    all_come_back(clients)
                    client_process.shut()
                    for client in clients:
                        client.close()
        finally:
            app.kill()


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("close", [False, True], ids=["namespace", "connection"])
@shows("disconnect")
def test_the_app_sends_clients_away(alone: Stage, close: bool) -> None:
    clients = crew(alone)
    try:
        for client in clients:
            alone.space.call("disconnect", sid=client.sid(), close=close)
        assert {client.label: client.end() in SENT_AWAY for client in clients} == {
            client.label: True for client in clients
        }
        # Further connects would have happened by now.
        for client in crew(alone):
            client.close()
        assert [client.connects() for client in clients] == [1] * len(clients)
    finally:
        for client in clients:
            client.close()
