"""App servers that freeze, die and come back, and the effect on others."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conformance.apps import App, started
from tests.conformance.capabilities import SDKS, shows
from tests.conformance.clients import ClientProcess
from tests.conformance.fleet import OURS, Fleet
from tests.conformance.stage import Space, Stage, fresh
from tests.support.service import MoorageProcess

PATIENT = 3_000
"""Timeout in milliseconds for answers among app servers, if one never answers. A busy one has so long."""
EAGER = {"reconnection": True, "reconnectionDelay": 50, "reconnectionDelayMax": 200}


@contextmanager
def frozen(space: Space) -> Iterator[None]:
    """Stop the process inside the block."""
    space.app.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        space.app.signal(signal.SIGCONT)


@pytest.mark.parametrize("victim", SDKS)
@shows("fetch-missing", "tell-missing")
def test_a_frozen_app_server_is_missing_and_delays_no_other(fleet: Fleet, victim: str) -> None:
    crews = fleet.crew_of(1)
    still = fleet.of(victim)
    everyone = {client.sid for [client] in crews.values()}
    askers = fleet.others(still, *OURS)
    fleet.of("node").call("set_data", sid=crews["node"][0], data={"kind": "node"})
    with frozen(still):
        begun = time.monotonic()
        fetches = [asker.start("fetch", timeout=PATIENT) for asker in askers]
        questions = [asker.start("tell_and_ask", args=["who"], timeout=PATIENT) for asker in askers]
        # Clients answer the service; their app server is not needed.
        numbers = sorted(client.number for [client] in crews.values())
        assert sorted(askers[0].ask("who")["answers"]) == numbers
        others = {kind: crew for kind, crew in crews.items() if kind != victim}
        heard = fleet.hearing(others, lambda: askers[0].emit("x"), by=askers[0])
        assert heard == {kind: [[["who"], ["x"]]] for kind in others}
        for asker, fetch, question in zip(askers, fetches, questions, strict=True):
            missing = [still.app.server] if victim in OURS else []
            found = asker.app.result(fetch)
            assert {one["id"] for one in found["sockets"]} == everyone
            assert found["missing"] == missing
            answer = asker.app.result(question)
            assert sorted(answer["answers"]) == sorted(
                other.app.label for other in askers if other is not asker
            )
            assert (answer["complete"], answer["missing"] or []) == (not missing, missing)
        assert time.monotonic() - begun < 20
    # It continues where it stopped.
    [client] = crews[victim]
    assert client.ask("echo", 1) == [1]
    assert askers[0].call("tell_and_ask", args=["who"], timeout=15_000)["complete"]


@pytest.mark.parametrize("sdk", OURS)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@shows("events")
def test_events_for_a_frozen_app_server_wait(stage: Stage, transport: str) -> None:
    client, other = stage.define().crew(2)
    # More than the window of an app server that acknowledges nothing.
    texts = [[n, chr(97 + n % 26) * 300_000] for n in range(30)]
    with frozen(stage.space):
        said = [client.start("emit", args=["up", *text]) for text in texts]
        asked = other.start("ask", args=["echo", 1])
        for saying in said:
            client.program.result(saying)
        assert not asked.done()
    assert stage.space.events(client, "up", len(texts)) == stage.space.as_reported(texts)
    assert other.program.result(asked) == [1]


@pytest.fixture(scope="module")
def forgetful() -> Iterator[MoorageProcess]:
    """A service that does not wait long for app servers."""
    with MoorageProcess("--set", "links.grace=3s") as service:
        yield service


@pytest.fixture
def pair(
    forgetful: MoorageProcess, client_process: ClientProcess, victim: str
) -> Iterator[tuple[Fleet, Space, Space]]:
    """An app server that survives and one that is killed, on a separate hub."""
    apps: list[App] = started("python" if victim == "node" else "node", victim)
    try:
        hub = fresh("Doomed_")
        for app in apps:
            app.link(forgetful.connection_string, hub, requestsTimeout=PATIENT)
        with Fleet(forgetful, hub, apps, client_process, "websocket") as made:
            made.unwanted = {"unhandled", "uncaught"}
            yield made, made.spaces[0], made.spaces[1]
    finally:
        for app in apps:
            app.kill()


@pytest.mark.parametrize("victim", SDKS)
@shows("fetch-missing", "tell-missing", "server-count", "close")
def test_a_dead_app_server_is_missing_and_its_clients_reconnect(
    pair: tuple[Fleet, Space, Space], victim: str
) -> None:
    fleet, survivor, doomed = pair
    fleet.define()
    crew = [
        fleet.client(transport=name, **EAGER) for name in ("websocket", "polling", "websocket", "polling")
    ]
    lost = [client for client in crew if doomed.serves(client)]
    stay = [client for client in crew if survivor.serves(client)]
    assert (len(lost), len(stay)) == (2, 2)
    question = survivor.start("tell_and_ask", args=["silent"], timeout=PATIENT)
    if victim in OURS:
        doomed.wait("told")
    gone = [client.program.mark for client in lost]
    doomed.app.kill()
    found = survivor.call("fetch", timeout=1_000)
    assert {one["id"] for one in found["sockets"]} == {client.sid for client in crew}
    missing = [doomed.app.server] if victim in OURS else []
    assert found["missing"] == missing
    answer = survivor.app.result(question)
    assert (answer["answers"], answer["missing"] or []) == ([], missing)

    # After the grace time its clients are closed and reconnect to the other app server.
    for client, since in zip(lost, gone, strict=True):
        # A polling client that should reconnect gets an error status.
        polls = crew.index(client) % 2
        assert client.ended(since) == ("transport error" if polls else "transport close")
        client.came_back(since)
        assert survivor.serves(client) or survivor.wait("connection", sid=client.sid)
    assert fleet.hear(crew, lambda: survivor.emit("x"), by=survivor) == [[["x"]]] * 4
    assert {one["id"] for one in survivor.call("fetch")["sockets"]} == {client.sid for client in crew}
    assert survivor.call("server_count") == 1

    # A new process of the same code is a new app server.
    [again] = started(victim)
    try:
        space = Space(again.link(fleet.service.connection_string, fleet.hub), fleet.ns).define()
        fleet.spaces.append(space)
        late = fleet.client()
        assert space.serves(late)
        everyone = [*crew, late]
        assert fleet.hear(everyone, lambda: space.emit("x"), by=space) == [[["x"]]] * 5
        assert survivor.call("server_count") == 2

        # An app server that closes its link has no grace time.
        space.call("close")
        assert late.ended() in ("transport close", "io server disconnect")
        assert fleet.hear(crew, lambda: survivor.emit("y"), by=survivor) == [[["y"]]] * 4
    finally:
        again.kill()


@pytest.mark.repair(12, 24)
@pytest.mark.parametrize("victim", SDKS)
@shows("close")
def test_an_app_server_closes_while_its_clients_upgrade(
    forgetful: MoorageProcess, client_process: ClientProcess, victim: str
) -> None:
    """Each client learns of it at once, on the transport that it has in that moment."""
    [app] = started(victim)
    try:
        hub = fresh("Closed_")
        app.link(forgetful.connection_string, hub)
        with Stage(forgetful, hub, [app], client_process, "upgrade") as stage:
            stage.unwanted.discard("link")
            stage.define()
            crew = [stage.opening() for _ in range(12)]
            for client in crew:
                client.connected()
            began = time.monotonic()
            stage.space.call("close")
            assert {client.ended() for client in crew} <= {"transport close", "transport error"}
            assert time.monotonic() - began < 20
    finally:
        app.kill()
