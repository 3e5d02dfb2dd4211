"""One Admin UI that is logged in, with a cluster whose answers the test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.control.adminui import viewer as module
from moorage.control.adminui.stats import NodeStats
from moorage.control.adminui.viewer import MAX_NEW, MAX_SOCKETS, Viewer
from moorage.wire.commands import Found, Selection
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.reasons import ADMIN_SESSION_OVER
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Packet, State

ACTIONS = {"EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"}


def found(sid: str, connection: str = "c1") -> Found:
    return Found("/", sid, connection, None, 1_700_000_000_000, (), b"{}")


class Cluster:
    """`control.adminui.viewer.Cluster`, and its own `traces`."""

    def __init__(self, sockets: int = 1) -> None:
        self.traces: Any = self
        self.payloads = True
        self.rounds = 0
        self.most_rounds = 1
        self.takes: dict[str, Callable[[Traced], object]] = {}
        self.scopes: list[Scope] = []
        self.rows = {"c1": found("s1"), "c2": found("s2", "c2")}
        self.count = sockets
        self.on_round: Callable[[], object] = lambda: None

    def open(self, scope: Scope, take: Callable[[Traced], object]) -> str:
        self.scopes.append(scope)
        self.takes["w"] = take
        return "w"

    def close(self, watch_id: str) -> None:
        del self.takes[watch_id]

    def check(self, token: str) -> None:
        assert token == "token"
        self.on_round()
        self.rounds += 1
        if self.rounds > self.most_rounds:
            raise PeerError(ADMIN_SESSION_OVER)

    async def stats(self, hub: str) -> Mapping[str, NodeStats]:
        node = NodeStats(
            name="n1",
            hostname="h",
            pid=1,
            uptime=1,
            clients=1,
            polling=0,
            namespaces={"/": self.count},
            totals={"packetsIn": self.rounds},
        )
        return {"i1": node}

    async def transports(self, hub: str) -> Mapping[str, str]:
        return {"c1": "polling"}

    async def sockets(self, hub: str, to: Selection, namespace: str) -> AsyncIterator[list[Found]]:
        if to.connection is None:
            assert to == Selection(group=namespace_group(namespace))
            yield [self.rows["c1"]]
        elif to.connection in self.rows:
            yield [self.rows[to.connection]]

    def now(self) -> float:
        return 100.5


async def run(cluster: Cluster, role: Role = Role.OPERATE) -> list[tuple[Any, ...]]:
    """Everything that the UI is told until the end of its session."""
    told: list[tuple[Any, ...]] = []
    viewer = Viewer(cluster, "h", Caller(role, "1.2.3.4"), "token", lambda *event: told.append(event))
    with pytest.raises(PeerError):
        await viewer.run()
    return told


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATS_SECONDS", 0.001)


def traced(*events: Packet | State) -> Traced:
    return Traced("w", "n1", events, 0, 1, False)


def new(connection: str, socket: str) -> Traced:
    return traced(
        State(1.0, "h", connection, None, "s", "opened", transport="websocket"),
        Packet(1.0, "h", connection, None, "s", "out", "connect", "/", socket=socket),
    )


async def test_what_an_operator_gets() -> None:
    cluster = Cluster()

    def second_round() -> None:
        if cluster.rounds == 0:
            cluster.takes["w"](new("c2", "s2"))
            cluster.takes["w"](new("c3", "gone"))
            cluster.takes["w"](new("c1", "a former socket"))
            cluster.takes["w"](traced(State(1.0, "h", "c1", None, "s", "upgraded", transport="websocket")))
            cluster.takes["w"](traced(State(1.0, "h", "c1", None, "s", "left", "/", socket="s1")))
            cluster.takes["w"](traced(State(1.0, "h", "c1", None, "s", "upgraded", transport="websocket")))

    cluster.on_round = second_round
    told = await run(cluster)
    names = [event[0] for event in told]
    assert names == [
        "config",
        "all_sockets",
        "server_stats",
        "socket_updated",
        "socket_disconnected",
        "socket_connected",
        "server_stats",
    ]
    assert set(told[0][1]["supportedFeatures"]) == ACTIONS | {"AGGREGATED_EVENTS", "ALL_EVENTS"}
    assert [(row["id"], row["transport"]) for row in told[1][1]] == [("s1", "polling")]
    assert told[3][1] == {"id": "s1", "nsp": "/", "transport": "websocket"}
    assert (told[5][1]["id"], told[5][1]["transport"]) == ("s2", "websocket")
    assert told[6][1]["aggregatedEvents"] == [{"timestamp": 100_000, "type": "packetsIn", "count": 1}]
    assert cluster.scopes == [Scope(hub="h", sample=1.0, payload=True)]
    assert cluster.takes == {}, "the trace has ended"


async def test_a_reader() -> None:
    cluster = Cluster()
    told = await run(cluster, Role.READ)
    assert told[0][1]["supportedFeatures"] == ["AGGREGATED_EVENTS", "ALL_EVENTS"]
    assert cluster.scopes == [Scope(hub="h", sample=1.0)]


async def test_many_sockets_are_only_counted() -> None:
    cluster = Cluster(MAX_SOCKETS + 1)
    told = await run(cluster)
    assert [event[0] for event in told] == ["config", "server_stats", "server_stats"]
    assert "ALL_EVENTS" not in told[0][1]["supportedFeatures"]
    assert cluster.scopes == []


async def test_what_happens_before_all_sockets_are_there() -> None:
    class Early(Cluster):
        async def transports(self, hub: str) -> Mapping[str, str]:
            self.takes["w"](traced(State(1.0, "h", "c1", None, "s", "left", "/", socket="early")))
            await asyncio.sleep(0)
            return {}

    told = await run(Early())
    assert [event[0] for event in told][:3] == ["config", "all_sockets", "socket_disconnected"]


async def test_too_many_new_sockets() -> None:
    cluster = Cluster()
    cluster.rows.update({f"n{at}": found(f"t{at}", f"n{at}") for at in range(MAX_NEW + 10)})

    def flood() -> None:
        if cluster.rounds == 0:
            for at in range(MAX_NEW + 10):
                cluster.takes["w"](new(f"n{at}", f"t{at}"))

    cluster.on_round = flood
    told = await run(cluster)
    assert [event[0] for event in told].count("socket_connected") == MAX_NEW
