"""A cluster with app servers and clients that count. A scenario lets events flow, does its fault, waits for
conditions, lets events flow again, and then looks at the `Ledger`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from itertools import count, cycle
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.conformance.program import ROOT, Line, Program
from tests.scenarios.cluster import Cluster, until
from tests.scenarios.ledger import Ledger
from tests.support.nats_server import NatsServer
from tests.support.service import MoorageProcess

PROGRAMS: Final = ROOT / "tests" / "scenarios" / "programs"
COMMANDS: Final = {
    "azure": ["node", str(PROGRAMS / "app.mjs"), "azure"],
    "node": ["node", str(PROGRAMS / "app.mjs"), "node"],
    "python": [sys.executable, "-m", "tests.scenarios.programs.app"],
}
OPTIONS: Final = {
    "azure": ("hub", "connectionString"),
    "node": ("hub", "connectionString", "serverId"),
    "python": ("hub", "connection_string", "server_id"),
}
OURS: Final = ("python", "node")
SDKS: Final = (*OURS, "azure")
EMIT_EVERY: Final = 50
"""Milliseconds between two emits of an app server."""
SEND_EVERY: Final = 200
"""Milliseconds between two events of a client."""
_numbers: Final = count(1)


def sdks(*, quick: str = "", among: Sequence[str] = SDKS) -> pytest.MarkDecorator:
    """Run a scenario with each of these SDKs; in each run of CI with one of them alone, if any."""
    scenario, slow = pytest.mark.scenario, pytest.mark.slow
    given = [pytest.param(sdk, marks=scenario if sdk == quick else slow) for sdk in among]
    return pytest.mark.parametrize("sdk", given)


class App(Program):
    """An app server."""

    def __init__(self, sdk: str, inside: tuple[str, ...] = ()) -> None:
        self.sdk = sdk
        self.label = f"{sdk}-{next(_numbers)}"
        self.last = 0
        """Number of its last emit, once it is told to stop."""
        super().__init__(self.label, [*inside, *COMMANDS[sdk]])

    def link(self, node: MoorageProcess, hub: str, server_id: str = "") -> None:
        """Link it to this node first. Our SDKs find the others."""
        given = (hub, node.connection_string, *([server_id] if server_id else []))
        options = dict(zip(OPTIONS[self.sdk], given, strict=False))
        self.call("start", label=self.label, options=options)

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    @property
    def notices(self) -> Sequence[Line]:
        """All that it has told."""
        return self._notices


class Scene(Cluster):
    """Use as a context manager. Clients connect with WebSocket and polling in turn."""

    def __init__(self, nats: int | list[NatsServer] = 1) -> None:
        super().__init__(nats)
        self.hub = f"scene_{next(_numbers)}"
        self.apps: list[App] = []
        self.clients = Program("clients", ["node", str(PROGRAMS / "clients.mjs")])
        self._stack.callback(self.clients.kill)
        self._names: list[str] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for app in self.apps:
                print(f"-- {app.label}", *[n for n in app.notices if n["notice"] != "taken"][-20:], sep="\n")
        super().__exit__(kind, error, trace)

    def app(self, sdk: str, at: str, server_id: str = "", inside: tuple[str, ...] = (), size: int = 0) -> App:
        """Start an app server with its first link at this node, and let it emit that many bytes more."""
        app = App(sdk, inside)
        self.apps.append(app)
        self._stack.callback(self._kill, app)
        app.link(self.nodes[at], self.hub, server_id)
        app.call("emit", label=app.label, every=EMIT_EVERY, size=size)
        return app

    @staticmethod
    def _kill(app: App) -> None:
        if app.is_alive:
            app.signal(signal.SIGCONT)
        app.kill()

    def known(self, servers: int, *names: str) -> None:
        """Wait until these nodes, or all, have or know that many app servers."""
        nodes = [self.nodes[name] for name in names or self.nodes]
        until(lambda: all(self._servers(node) >= servers for node in nodes), "app servers are known")

    def _servers(self, node: MoorageProcess) -> float:
        there = node.metric(f'moorage_cluster_app_servers{{hub="{self.hub}"}}')
        return there + node.metric(f'moorage_app_servers{{hub="{self.hub}"}}')

    def connect(self, number: int, *names: str) -> None:
        """Connect clients, in turn at these nodes or at all. Those that lose theirs try the next one."""
        nodes = list(names or self.nodes)
        others = [name for name in self.nodes if name not in nodes]
        urls = [self.nodes[name].url for name in (*nodes, *others)]
        transports = cycle([["websocket"], ["polling", "websocket"], ["polling"]])
        each: list[dict[str, Any]] = []
        for at in range(number):
            node = nodes[at % len(nodes)]
            name = f"{node}.{len(self._names)}"
            self._names.append(name)
            each.append(
                {
                    "name": name,
                    "urls": urls,
                    "at": at % len(nodes),
                    "path": f"/clients/socketio/hubs/{self.hub}",
                    # Another sequence than that of the nodes.
                    "transports": next(transports) if at % len(nodes) == 0 else each[-1]["transports"],
                    "every": SEND_EVERY,
                }
            )
        self.clients.call("open", each=each)
        self.all_connected()

    def states(self, at: str = "") -> list[Line]:
        """What the clients are doing, or those that began at a node."""
        states: list[Line] = self.clients.call("state")
        return [state for state in states if state["name"].startswith(f"{at}." if at else "")]

    def all_connected(self) -> float:
        """Wait until all clients are connected. Returns how long it took."""
        return until(lambda: all(state["connected"] for state in self.states()), "all clients are connected")

    def flow(self, *names: str, rounds: int = 5, news: bool = True) -> None:
        """Let every client, or those that began at these nodes, get acks and news of every app server; with
        `news=False` acks alone."""
        heads = tuple(f"{name}." for name in names)
        labels = [app.label for app in self.apps if news and app.is_alive]
        before = {state["name"]: state for state in self.states()}

        def flowed() -> bool:
            states = [one for one in self.states() if not heads or one["name"].startswith(heads)]
            return all(
                one["acked"] >= before[one["name"]]["acked"] + rounds
                and all(
                    one["last"].get(label, 0) >= before[one["name"]]["last"].get(label, 0) + rounds
                    for label in labels
                )
                for one in states
            )

        until(flowed, "events flow")

    def served_by(self, app: App) -> int:
        """The number of clients that an app server has now."""
        notices = [line["notice"] for line in tuple(app.notices)]
        return notices.count("connect") - notices.count("disconnect")

    def finish(self) -> Ledger:
        """Stop all that is sent, wait until it has arrived, and end the clients."""
        alive = [app for app in self.apps if app.is_alive]
        self.clients.call("hush")
        for app in alive:
            app.last = app.call("hush")
        last = {app.label: app.last for app in alive}
        until(
            lambda: all(one["last"].get(label) == at for one in self.states() for label, at in last.items()),
            "the last emits arrive",
        )
        self._settled()
        errors = [line for node in self.nodes.values() for line in node.lines if '"level": "error"' in line]
        assert errors == []
        report: list[Any] = self.clients.call("report")
        self.clients.call("shut")
        ledger = Ledger(report, self.apps)
        until(lambda: ledger.read().open == set(), "each connect has a disconnect")
        return ledger

    def _settled(self) -> None:
        """Wait for the acks that are still on their way. A client that was never disconnected gets all of
        them; what others have sent to a lost node never comes."""

        def settled() -> bool:
            states = [state for state in self.states() if not state["ends"]]
            return all(state["acked"] == state["sent"] for state in states)

        until(settled, "all acks arrive")

    def started(self, *apps: str, nodes: Sequence[str], clients: int = 24) -> Self:
        """The usual beginning: nodes, an app server of each kind in turn at each node, clients at all nodes,
        and events that flow."""
        self.start(*nodes)
        for at, sdk in enumerate(apps):
            self.app(sdk, nodes[at % len(nodes)])
        self.known(len(apps))
        self.connect(clients)
        self.flow()
        return self
