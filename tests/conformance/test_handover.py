"""App servers hand their clients over. Clients and apps see no disconnect, and no order changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conformance.apps import App, linked
from tests.conformance.clients import Client, ClientProcess
from tests.conformance.stage import Space, Stage, fresh
from tests.support.service import MoorageProcess

OURS = ("node", "python", "threads")
PAIRS = [(one, two) for one in OURS for two in OURS]
THERE_AND_BACK = [(one, two) for one, two in PAIRS if one <= two]
"""For clients that move to the second SDK and back to the first."""


class House:
    """A hub with an app server that has a client on each transport, and others that come later."""

    def __init__(
        self,
        service: MoorageProcess,
        client_process: ClientProcess,
        sdk: str,
        stack: ExitStack,
    ) -> None:
        self._service = service
        self._hub = fresh("HandOver_")
        self._stack = stack
        self.one = self._linked(sdk)
        self.stage = stack.enter_context(Stage(service, self._hub, [self.one], client_process, "websocket"))
        self.stage.define()
        self.clients = [self.stage.opening(transport=name).connected() for name in ("websocket", "polling")]

    def _linked(self, sdk: str) -> App:
        app = linked(sdk, self._service, self._hub)
        self._stack.callback(app.kill)
        return app

    def space(self, app: App) -> Space:
        """The namespace at an app server."""
        return Space(app, self.stage.ns)

    def another(self, sdk: str) -> App:
        """One more app server, which serves the namespace."""
        app = self._linked(sdk)
        self.space(app).define()
        return app

    def hand_over(self, app: App) -> Any:
        """All clients of an app server leave it."""
        return app.call("hand_over")

    def until_at(self, app: App, client: Client) -> None:
        """Wait until the app server has the client, with the mark of a hand-over."""
        told = app.wait(0, notice="connection", ns=self.stage.ns, sid=client.sid)
        assert told["handed_over"] is True

    def quiet(self, *apps: App) -> None:
        """Nobody has seen an end."""
        for app in (self.one, *apps):
            assert app.heard(0, notice="disconnect", ns=self.stage.ns) == []


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The SDKs of the former and the new app server."""
    names: tuple[str, str] = request.param
    return names


@pytest.fixture
def house(running: MoorageProcess, client_process: ClientProcess, pair: tuple[str, str]) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(running, client_process, pair[0], stack)


def test_clients_move_with_their_ids_rooms_and_data(house: House, pair: tuple[str, str]) -> None:
    clients, stage = house.clients, house.stage
    one, two = house.space(house.one), house.another(pair[1])
    for client in clients:
        one.call("join", sid=client, rooms=["red", "green"])
        one.call("set_data", sid=client, data={"name": "Zoë", "n": client.number})
    assert house.hand_over(house.one) == {"moved": 2, "missing": []}
    new = house.space(two)
    for client in clients:
        house.until_at(two, client)
        assert set(new.rooms(client)) == {"red", "green"}
        assert client.ask("echo", "after", b"\x00") == ["after", b"\x00"]
        assert new.event(client, "echo") == ["after", b"\x00"]
    heard = stage.hear(clients, lambda: new.emit("x", 1, to=["red"]), by=new)
    assert heard == [[["x", 1]]] * 2
    for client in clients:
        new.send(client, "x", 2)
        client.next("x")
        assert new.call("ask_socket", sid=client, args=["who"], timeout=15_000) == [client.number]
        assert new.fetch()[client.sid]["data"] == {"name": "Zoë", "n": client.number}
    house.quiet(two)
    for client in clients:
        client.act("disconnect")
        assert new.ended(client)
    assert house.one.heard(0, notice="disconnect", ns=stage.ns) == []


@pytest.mark.parametrize("pair", THERE_AND_BACK, indirect=True, ids="-".join)
def test_acked_emits_keep_their_order_through_two_hand_overs(house: House, pair: tuple[str, str]) -> None:
    clients = house.clients
    two = house.another(pair[1])
    count = 150
    waiting: dict[Client, list[Any]] = {client: [] for client in clients}
    for number in range(count):
        for client, asked in waiting.items():
            asked.append(client.start("ask", args=["echo", number]))
        if number == count // 3:
            first = house.one.start("hand_over")
        if number == 2 * count // 3:
            for client, asked in waiting.items():
                client.program.result(asked[number // 2], "an ack")
            assert house.one.result(first, "hand_over")["moved"] == 2
            third = house.another(pair[0])
            second = two.start("hand_over")
    for client, asked in waiting.items():
        assert [client.program.result(one, "an ack") for one in asked] == [
            [number] for number in range(count)
        ]
    assert two.result(second, "hand_over")["moved"] == 2
    for client in clients:
        events: list[Any] = []
        for app, kind in ((house.one, pair[0]), (two, pair[1]), (third, pair[0])):
            heard = [line["args"][1] for line in app.heard(0, notice="event", ns=client.ns, sid=client.sid)]
            # Each handler of a threaded app runs in a thread of its own, so two may report in either order.
            events += sorted(heard) if kind == "threads" else heard
        assert events == list(range(count))
    house.quiet(two, third)


def test_azures_sdk_beside_it_is_never_asked(running: MoorageProcess, client_process: ClientProcess) -> None:
    with ExitStack() as stack:
        house = House(running, client_process, "python", stack)
        azure = house.another("azure")
        two = house.another("node")
        assert house.hand_over(house.one) == {"moved": 2, "missing": []}
        for client in house.clients:
            house.until_at(two, client)
        assert sorted(house.hand_over(two)["missing"]) == sorted(each.connection for each in house.clients)
        assert house.clients[0].ask("echo", 1) == [1]
        assert azure.heard(0, notice="connection", ns=house.stage.ns) == []
