"""The link between an app server and the service: interrupted, lost, refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.apps import App, linked
from tests.conformance.capabilities import SDKS, shows, support
from tests.conformance.clients import Client, ClientProcess
from tests.conformance.fleet import OURS
from tests.conformance.program import PATIENCE, Refused
from tests.conformance.proxy import Proxy
from tests.conformance.stage import Space, Stage, fresh
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

EAGER = {"reconnection": True, "reconnectionDelay": 50, "reconnectionDelayMax": 200}
PART = 40
"""Number of events in one direction between two changes of the link."""


@pytest.fixture
def proxy(running: MoorageProcess) -> Iterator[Proxy]:
    """A proxy between the app server and the service, whose grace time is ten seconds."""
    with Proxy(running) as made:
        yield made


@pytest.fixture
def behind(running: MoorageProcess, client_process: ClientProcess, proxy: Proxy, sdk: str) -> Iterator[Stage]:
    """An app server that links through the proxy."""
    hub = fresh("Cut_")
    app = App(sdk)
    try:
        app.link(proxy.connection_string, hub)
        with Stage(running, hub, [app], client_process, "websocket") as made:
            made.unwanted.discard("link")
            yield made
    finally:
        app.kill()


class Traffic:
    """Numbered events in both directions, directly and to a room."""

    def __init__(self, space: Space, clients: list[Client]) -> None:
        self.space = space
        self.clients = clients
        self.sent = 0

    def part(self) -> None:
        """Send more events. Emits may wait in the app server."""
        step, numbers = self.space.step, range(self.sent, self.sent + PART)
        kinds: list[dict[str, Any]] = [{"to": ["room"]}, {"to": self.clients}, {}]
        self.space.batch(*[step("emit", args=["down", n], **kinds[n % 3]) for n in numbers])
        for client in self.clients:
            for n in numbers:
                client.start("emit", args=["up", n])
        self.sent += PART

    def check(self) -> None:
        """Check that all events have arrived, once and in order."""
        expected = [[n] for n in range(self.sent)]
        for client in self.clients:
            assert client.count("down", self.sent) == expected
            assert self.space.events(client, "up", self.sent) == self.space.as_reported(expected)


@pytest.mark.parametrize("sdk", OURS)
@shows("resume")
def test_interruptions_lose_and_reorder_nothing(behind: Stage, proxy: Proxy) -> None:
    behind.define()
    clients = [behind.client(transport=name) for name in ("websocket", "polling")]
    space = behind.space
    for client in clients:
        space.join(client, "room")
    traffic = Traffic(space, clients)
    questions = []
    for into_the_void in (False, True):
        since = space.app.mark
        traffic.part()
        if into_the_void:
            proxy.swallow()
            traffic.part()
        questions.append(space.start("ask", args=["who"], timeout=15_000))
        join = space.start("join", sid=clients[0], rooms=[f"late {into_the_void}"])
        proxy.cut()
        space.app.wait(since, notice="link", state="lost")
        traffic.part()
        proxy.restore()
        space.app.wait(since, notice="link", state="restored")
        traffic.part()
        space.app.result(join)
    traffic.check()
    numbers = sorted(client.number for client in clients)
    assert [sorted(space.app.result(question)["answers"]) for question in questions] == [numbers, numbers]
    assert [client.state()["connected"] for client in clients] == [True, True]
    assert client_ends(clients) == []
    assert space.rooms(clients[0]) == {"room", "late False", "late True"}
    heard = behind.hear(clients, lambda: space.emit("x", to=["late False", "late True"]))
    assert [[event for event in events if event[0] == "x"] for events in heard] == [[["x"]], []]


def client_ends(clients: list[Client]) -> list[Any]:
    """Their disconnects so far."""
    return [
        line for client in clients for line in client.program.heard(notice="disconnect", client=client.number)
    ]


@pytest.mark.parametrize("sdk", OURS)
@shows("resume", "fetch-missing")
def test_changes_during_an_interruption_are_reported_afterwards(
    behind: Stage, running: MoorageProcess, client_process: ClientProcess, proxy: Proxy, sdk: str
) -> None:
    moved, removed, leaves = behind.define().crew(3)
    space = behind.space
    other_app = linked("node" if sdk != "node" else "python", running, behind.hub)
    try:
        other = Space(other_app, behind.ns).define()
        proxy.cut()
        space.app.wait(notice="link", state="lost")
        other.call("sockets_join", to=[moved], rooms=["a", "b"])
        other.call("sockets_leave", to=[moved], rooms=["b"])
        other.call("disconnect_sockets", to=[removed], close=False)
        other.call("tell", args=["note", "meanwhile"])
        leaves.act("disconnect")
        end = time.monotonic() + PATIENCE
        while (found := other.call("fetch", timeout=100))["sockets"][1:] or found["missing"][1:]:
            # A client's disconnect reaches the service on another connection.
            assert time.monotonic() < end, found
        assert [one["id"] for one in found["sockets"]] == [moved.sid]
        assert found["missing"] == [space.app.server]
        proxy.restore()
        space.app.wait(notice="link", state="restored")
        assert space.wait("told")["args"] == ["note", "meanwhile"]
        assert space.ended(removed)
        assert space.ended(leaves)
        space.until_in(moved, {"a"})
        space.until_serves(moved)
        assert other.call("tell_and_ask", args=["who"], timeout=15_000)["answers"] == [space.app.label]
    finally:
        other_app.kill()


@pytest.mark.parametrize("sdk", OURS)
@shows("resume", "link-events")
def test_an_interruption_longer_than_the_grace_time(client_process: ClientProcess, sdk: str) -> None:
    app = App(sdk)
    try:
        with MoorageProcess("--set", "links.grace=300ms") as service, Proxy(service) as proxy:
            app.link(proxy.connection_string, "Late")
            with Stage(service, "Late", [app], client_process, "websocket") as stage:
                stage.unwanted = {"uncaught", "unhandled"}
                stage.define()
                clients = [stage.client(transport=name, **EAGER) for name in ("websocket", "polling")]
                old = [client.sid for client in clients]
                stage.space.join(clients[0], "room")
                since = client_process.mark
                proxy.cut()
                # A polling client that should reconnect gets an error status.
                assert [client.ended(since) for client in clients] == ["transport close", "transport error"]
                stage.space.batch(*[stage.space.step("emit", to=[sid], args=["x", "old"]) for sid in old])
                proxy.restore()
                for client in clients:
                    client.came_back(since)
                    stage.owner(client)
                for sid in old:
                    stage.space.wait("disconnect", sid=sid)
                stage.space.until_serves(*clients)
                heard = stage.hear(clients, lambda: stage.space.emit("x", to=["room"]))
                assert heard == [[], []]
    finally:
        app.kill()


@pytest.mark.parametrize("sdk", ["azure"])
@shows("resume")
def test_clients_of_azures_sdk_survive_an_interruption(behind: Stage, proxy: Proxy) -> None:
    """Emits in transit are lost with the link; see docs/explanation/delivery.md."""
    assert not support("resume", "azure").does
    client = behind.define().client()
    proxy.cut()
    for n in range(PART):
        client.emit("up", n)
    proxy.restore()
    heard = [n for [n] in behind.space.events(client, "up", PART)]
    assert sorted(set(heard)) == list(range(PART))
    assert client.ask("echo", 1) == [1]
    assert client_ends([client]) == []


@pytest.mark.parametrize("sdk", SDKS)
@shows("link-events")
def test_the_service_is_restarted(client_process: ClientProcess, sdk: str) -> None:
    hub = fresh("Restart_")
    # Not a port for outgoing connections: while nothing listens there, a client's attempt may take it.
    port = f"--port={free_port()}"
    with MoorageProcess(port) as first:
        app = linked(sdk, first, hub, pingInterval=500, pingTimeout=5_000)
        stage = Stage(first, hub, [app], client_process, "websocket")
        stage.define()
        clients = [stage.client(transport=name, **EAGER) for name in ("websocket", "polling")]
        old = {client.sid for client in clients}
        since = client_process.mark
        first.kill()
        for client in clients:
            client.ended()
        if sdk in OURS:
            app.wait(notice="link", state="lost")
        with MoorageProcess(port, key=first.key):
            for client in clients:
                client.came_back(since)
                stage.owner(client)
                assert client.ask("echo", 1) == [1]
            if sdk in OURS:
                for sid in old:
                    app.wait(notice="disconnect", sid=sid)
                stage.space.until_serves(*clients)
            space = stage.space
            space.join(clients[0], "room")
            heard = stage.hear(clients, lambda: space.emit("x", to=["room"]))
            assert heard == [[["x"]], []]
            client_process.shut()
        app.kill()


@pytest.mark.parametrize("sdk", OURS)
@shows("start-errors")
def test_permanent_errors_fail_at_once(running: MoorageProcess, sdk: str) -> None:
    right = running.connection_string
    app = App(sdk)
    try:
        for wrong, says in (
            (right.replace(running.key, "wrong"), r"(?i)key"),
            (right.replace(running.url, "http://127.0.0.1:1"), r"127\.0\.0\.1:1"),
            (right.replace("Endpoint=", "Endpoints="), r"(?i)connection string"),
        ):
            with pytest.raises(Refused, match=says):
                app.link(wrong, "hub")
        # A failed start does not affect a later one.
        assert app.link(right, fresh("Right_")).call("server_count", ns="/") == 1
    finally:
        app.kill()


@pytest.mark.parametrize("sdk", ["azure"])
@shows("start-errors")
def test_azures_sdk_reports_no_permanent_errors(running: MoorageProcess, sdk: str) -> None:
    assert not support("start-errors", sdk).does
    app = App(sdk)
    try:
        text = running.connection_string.replace(running.key, "wrong")
        linking = app.start("start", connection_string=text, hub="hub", label="", options={})
        before = _refusals(running)
        running.wait_line(lambda _: _refusals(running) >= before + 2)
        assert not linking.done()
    finally:
        app.kill()


def _refusals(service: MoorageProcess) -> int:
    """The number of links refused for their key, from the service's log."""
    return sum("token-signature" in line for line in service.lines)


@pytest.mark.repair(30)
def test_an_app_server_by_the_internal_address_and_clients_by_the_public_one(
    sdk: str, client_process: ClientProcess
) -> None:
    with MoorageProcess("--set", "server.public_endpoint=https://rt.example") as service:
        health = service.wait_line(lambda line: line.startswith("Health")).split()[1]
        service.url = health.removesuffix("/healthz")
        app = linked(sdk, service, "Inner")
        try:
            with Stage(service, "Inner", [app], client_process, "websocket") as stage:
                stage.define()
                assert stage.client().ask("echo", 1) == [1]
        finally:
            app.kill()
