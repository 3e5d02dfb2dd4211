"""An app server with recovery, its namespace and its clients."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pytest

from tests.conformance.apps import App, linked
from tests.conformance.clients import Client, ClientProcess
from tests.conformance.program import PATIENCE
from tests.conformance.stage import Stage, fresh
from tests.support.service import MoorageProcess

NATIVE: Final = "native"
OURS: Final = ("node", "python", "threads")
BEHIND = pytest.mark.parametrize("sdk", OURS)


class Place(NamedTuple):
    """What clients connect to."""

    url: str
    path: str


class Cell:
    """An app server with recovery, and a namespace."""

    def __init__(self, sdk: str, place: Place, stage: Stage) -> None:
        self.sdk = sdk
        self.place = place
        self.stage = stage
        self.space = stage.space

    def client(self, **options: Any) -> Client:
        """A connected client, on its final transport, that has got one event."""
        client = self.stage.client(path=self.place.path, **options)
        end = time.monotonic() + PATIENCE
        while self.stage.transport == "upgrade" and client.state()["transport"] != "websocket":
            assert time.monotonic() < end, "no upgrade"
        self.space.send(client, "first")
        assert len(client.next("first")) == 1, "the offset"
        return client

    def lose(self, client: Client) -> None:
        """The client loses its connection, and the app hears of it."""
        since = self.space.app.mark
        client.act("lose")
        self.space.app.wait(since, notice="disconnect", sid=client.sid, ns=client.ns)

    def back(self, client: Client, **fields: Any) -> bool:
        """The client comes back. True if its socket was recovered, for both sides."""
        since = self.space.app.mark
        client.again(**fields)
        recovered = bool(client.state()["recovered"])
        notice = self.space.app.wait(since, notice="connection", sid=client.sid, ns=client.ns)
        assert notice["recovered"] == recovered
        return recovered

    def missed(self, client: Client) -> list[list[Any]]:
        """All events of the client until a live one, without their offsets."""
        mark = fresh("live")
        self.space.emit(mark, to=[client.sid])
        client.count(mark, 1)
        events = client.until(next(event for event in client.events() if event[0] == mark))
        assert all(isinstance(event[-1], str) for event in events)
        return [event[:-1] for event in events]


@contextmanager
def cells(running: MoorageProcess, client_process: ClientProcess) -> Iterator[Callable[..., Cell]]:
    """Makes a cell by SDK, transport and options. App servers are started once."""
    apps: dict[str, tuple[App, Place, str]] = {}
    stages: list[Stage] = []

    def cell(sdk: str, transport: str, **recovery: Any) -> Cell:
        quiet = {"quietRecovery": True} if recovery.pop("quiet", False) else {}
        options: dict[str, Any] = {} if sdk == "azure" else {"connectionStateRecovery": recovery, **quiet}
        key = f"{sdk}{json.dumps(options)}"
        if key not in apps:
            hub = fresh(f"Recovery_{sdk}")
            if sdk == NATIVE:
                app = App(sdk)
                place = Place(app.call("start", options=options)["server"], "/socket.io/")
            else:
                app = linked(sdk, running, hub, **options)
                place = Place(running.url, f"/clients/socketio/hubs/{hub}/")
            apps[key] = app, place, hub
        app, place, hub = apps[key]
        service: Any = place if sdk == NATIVE else running
        stage = Stage(service, hub, [app], client_process, transport).define(
            refuse=[{"auth": {"token": "refused"}, "message": "no"}]
        )
        stages.append(stage)
        return Cell(sdk, place, stage)

    yield cell
    for app, _, _ in apps.values():
        app.kill()


@contextmanager
def ended(cell: Cell) -> Iterator[Cell]:
    """Close its clients, and check that nothing went wrong."""
    with cell.stage:
        yield cell
