"""The options of one run, as the command's process hands them to its workers."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

ScenarioName = Literal["echo", "fanout", "idle", "connects", "jitter", "avalanche"]
TransportName = Literal["websocket", "polling"]


DEFAULT_RATES: Final[dict[ScenarioName, float]] = {"fanout": 10.0, "jitter": 2.0}
"""Events a second of the scenarios that need a rate."""
WARMED_UP: Final[frozenset[ScenarioName]] = frozenset({"echo", "fanout", "connects"})
"""Scenarios whose first seconds are not measured. The others wait for something that happens once."""
MASK: Final = "***"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker does. Times are in seconds. `clients`, `senders` and `rate` are a worker's part of the
    whole."""

    scenario: ScenarioName
    url: str
    """Scheme, host and port of the server, such as `http://127.0.0.1:3000`."""
    path: str = "/socket.io/"
    query: dict[str, str] = {}
    """Added to the handshake's query. `{n}` in a value is replaced by the client's number."""
    headers: dict[str, str] = {}
    namespace: str = "/"
    auth: Any = None
    """The `auth` of the CONNECT packet; `{n}` in its strings is replaced as in `query`."""
    transport: TransportName = "websocket"
    insecure: bool = False
    """Accept any certificate."""
    local_addresses: tuple[str, ...] = ()
    """Addresses to connect from, in turn."""

    clients: int = 100
    first: int = 0
    """Number of the worker's first client."""
    opening: int = 50
    """Maximum number of connects under way at once."""
    senders: int = 1
    rate: float = 0.0
    """Events a second; 0: each client sends again when it has got its answer."""
    outstanding: int = 1
    """Maximum number of events of one client that wait for an answer."""
    event: str = "echo"
    size: int = 100
    """Bytes of the string that an event carries."""
    verify: bool = False
    """An ack must contain the string that was sent."""
    warmup: float = 1.0
    duration: float = 10.0
    timeout: float = 10.0
    """For a connect and for an answer."""
    cut_every: float = 15.0
    """jitter: mean time between two cuts of one client."""
    restart: str = ""
    """avalanche: a shell command that restarts the server."""

    def masked(self) -> Plan:
        """Without the values that may be credentials. Results are shown to others than those who may log in,
        in the artifacts of a CI for example."""
        return msgspec.structs.replace(
            self,
            query=dict.fromkeys(self.query, MASK),
            headers=dict.fromkeys(self.headers, MASK),
            auth=MASK if self.auth else self.auth,
            restart=MASK if self.restart else "",
        )

    def share(self, worker: int, workers: int) -> Plan:
        """The part of one worker."""
        first = _cut(self.clients, worker, workers)
        clients = _cut(self.clients, worker + 1, workers) - first
        senders = _cut(self.senders, worker + 1, workers) - _cut(self.senders, worker, workers)
        # In scenarios with senders only these send, so the rate follows them.
        part = (
            senders / max(1, self.senders)
            if self.scenario in ("fanout", "jitter")
            else clients / self.clients
        )
        return msgspec.structs.replace(
            self,
            clients=clients,
            first=first,
            senders=senders,
            rate=self.rate * part,
            opening=max(1, self.opening // workers),
            # Only one worker may run it.
            restart=self.restart if worker == 0 else "",
        )


class Go(msgspec.Struct, frozen=True):
    """The command that begins the load: the monotonic time in nanoseconds at which it begins on all
    workers."""

    at: int


def _cut(total: int, part: int, parts: int) -> int:
    return total * part // parts
