"""Two workers of one machine with stock clients, and with app servers of each SDK."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from moorage.wire.ids import incarnation_of
from tests.conformance.apps import App
from tests.conformance.clients import Client, ClientProcess
from tests.conformance.stage import Stage, fresh
from tests.support.service import MoorageProcess

pytestmark = [pytest.mark.timeout(120), pytest.mark.node]
MOST = 40
"""Clients after which both workers have had one, except in one of 10^12 runs."""


class Workers:
    """A service with two workers."""

    def __init__(self, stack: ExitStack) -> None:
        flags = ("--set", "shutdown.lb_wait=0", "--set", "cluster.node_name=w")
        self.process = stack.enter_context(MoorageProcess("--workers", "2", *flags))
        started = [self.process.wait_record(event="worker started", node=f"w-{n}") for n in (1, 2)]
        self.pids = [int(record["pid"]) for record in started]
        self.incarnations = [str(record["incarnation"]) for record in started]
        self.urls = [str(record["url"]) for record in started]


class Machine:
    """A hub of the service, and an app server at each worker's own port; a single one has the address that
    all workers share."""

    def __init__(self, stack: ExitStack, workers: Workers, clients: ClientProcess, *sdks: str) -> None:
        self.process = workers.process
        self.pids = workers.pids
        self.incarnations = workers.incarnations
        self.hub = fresh("workers")
        self.apps = []
        urls = workers.urls if len(sdks) > 1 else [self.process.url]
        for sdk, url in zip(sdks, urls, strict=True):
            app = App(sdk)
            stack.callback(app.kill)
            app.link(f"Endpoint={url};AccessKey={self.process.key};Version=1.0;", self.hub)
            self.apps.append(app)
        self.clients = clients
        self.stage = stack.enter_context(Stage(self.process, self.hub, self.apps, self.clients, "websocket"))
        self.stage.define()

    def crew(self, **options: Any) -> tuple[Client, Client]:
        """A client at the first worker and one at the second."""
        found: dict[str, Client] = {}
        for _ in range(MOST):
            client = self.stage.client(**options)
            known = found.setdefault(incarnation_of(client.connection), client)
            if known is not client:
                client.act("disconnect")
            if len(found) == 2:
                break
        first, second = self.incarnations
        return found[first], found[second]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """For tests that kill none of them."""
    with ExitStack() as stack:
        yield Workers(stack)


@pytest.fixture(scope="module")
def clients() -> Iterator[ClientProcess]:
    process = ClientProcess()
    yield process
    process.kill()


@pytest.fixture(params=[("node", "python"), ("azure", "azure")], ids=["moorage", "azure"])
def sdks(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Of the app servers at the two workers."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def machine(workers: Workers, clients: ClientProcess, sdks: tuple[str, str]) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(stack, workers, clients, *sdks)


@pytest.fixture
def own(clients: ClientProcess, sdks: tuple[str, str]) -> Iterator[Machine]:
    """With workers that the test may kill."""
    with ExitStack() as stack:
        yield Machine(stack, Workers(stack), clients, *sdks)


def test_rooms_and_emits_cross_workers(machine: Machine) -> None:
    here, there = machine.crew()
    first, second = machine.stage.spaces
    first.emit("to all", 1)
    for client in (here, there):
        assert client.next("to all") == [1]
    first.join(here, "room")
    second.join(there, "room")
    for space in (first, second):
        space.emit("to a room", to=["room"])
        for client in (here, there):
            assert client.next("to a room") == []
    second.emit("not to one", except_=[there])
    second.emit("end")
    assert here.until(["end"]) == [["not to one"]]
    assert there.until(["end"]) == []


def test_a_worker_that_is_killed_comes_back_and_the_other_goes_on(own: Machine) -> None:
    here, there = own.crew(reconnection=True, reconnectionDelay=50, reconnectionDelayMax=200)
    first, _ = own.stage.spaces
    own.stage.unwanted -= {"link", "problem"}
    os.kill(own.pids[1], signal.SIGKILL)
    own.clients.wait(notice="disconnect", client=there.number, reason="transport close")
    own.clients.wait_until(
        lambda: len(own.clients.heard(notice="connect", client=there.number)) == 2, "it is back"
    )
    first.emit("all are here")
    for client in (here, there):
        assert client.next("all are here") == []
    assert own.clients.heard(notice="disconnect", client=here.number) == []


@pytest.mark.parametrize("transport", ["polling", "upgrade"])
def test_every_request_may_arrive_at_any_worker(machine: Machine, transport: str) -> None:
    """Each polling request of the stock client is a connection of its own."""
    here, there = machine.crew(transport=transport)
    # Our SDKs have a link to each worker, so one app server may serve both clients.
    served = [(client, machine.stage.owner(client)) for client in (here, there)]
    for number in range(10):
        for client, space in served:
            client.emit("up", number)
            assert space.event(client, "up", number) == [number]
            space.emit("down", number)
            for each in (here, there):
                assert each.next("down") == [number]


@pytest.mark.parametrize("sdk", ["node", "python", "threads", "azure"])
def test_one_app_server_with_one_address_serves_all_workers(
    workers: Workers, clients: ClientProcess, sdk: str
) -> None:
    with ExitStack() as stack:
        machine = Machine(stack, workers, clients, sdk)
        (space,) = machine.stage.spaces
        crew = machine.crew()
        for client in crew:
            client.emit("up")
            assert space.event(client, "up") == []
            space.join(client, "room")
            space.send(client, "to one")
            assert client.next("to one") == []
        for target in ({}, {"to": ["room"]}):
            space.emit("to all", **target)
            for client in crew:
                assert client.next("to all") == []


@pytest.mark.parametrize("sdk", ["node", "python"])
def test_the_only_app_server_keeps_the_clients_of_a_worker_when_another_is_killed(
    clients: ClientProcess, sdk: str
) -> None:
    with ExitStack() as stack:
        machine = Machine(stack, Workers(stack), clients, sdk)
        (space,) = machine.stage.spaces
        machine.stage.unwanted -= {"link", "problem"}
        crew = machine.crew(reconnection=True, reconnectionDelay=50, reconnectionDelayMax=200)
        # The worker whose end leaves the app server's link as it is, or one that it is linked to as well.
        links = [
            machine.process.metric(
                f'moorage_tunnel_connections{{node="w-{n}",dialect="moorage",hub="{machine.hub}"}}'
            )
            for n in (1, 2)
        ]
        assert sum(links) >= 1
        doomed = links.index(min(links))
        owners = {incarnation_of(client.connection): client for client in crew}
        lost = owners[machine.incarnations[doomed]]
        kept = owners[machine.incarnations[1 - doomed]]
        os.kill(machine.pids[doomed], signal.SIGKILL)
        space.wait("disconnect", sid=lost.sid)
        machine.clients.wait_until(
            lambda: len(machine.clients.heard(notice="connect", client=lost.number)) == 2, "it is back"
        )
        kept.emit("up")
        assert space.event(kept, "up") == []
        space.emit("all are here")
        for client in (lost, kept):
            assert client.next("all are here") == []
        assert machine.clients.heard(notice="disconnect", client=kept.number) == []
