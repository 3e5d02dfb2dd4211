"""What a scenario has counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

Line = dict[str, Any]


class Told(Protocol):
    """An app server."""

    label: str
    last: int

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""

    @property
    def notices(self) -> Sequence[Line]:
        """All that it has told."""


class Ledger:
    """Clients' reports and app servers' notices, counted. `read` reads the app servers' again."""

    def __init__(self, clients: list[Line], apps: Sequence[Told]) -> None:
        self.clients = {client["name"]: client for client in clients}
        self._apps = apps
        self.read()

    def read(self) -> Self:
        """Read what the app servers have told so far."""
        self.connects: Counter[tuple[str, str]] = Counter()
        self.ends: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.taken: defaultdict[str, list[int]] = defaultdict(list)
        self.problems: list[str] = []
        self.served: set[tuple[str, str]] = set()
        """App servers with each client that they had at some time."""
        order: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.open: set[tuple[str, str]] = set()
        """Sockets that are connected at an app server that is alive."""
        for app in self._apps:
            for line in tuple(app.notices):
                socket = (app.label, line.get("sid", ""))
                if line["notice"] == "connect":
                    self.connects[socket] += 1
                    self.served.add((app.label, line["client"]))
                elif line["notice"] == "disconnect":
                    self.ends[socket].append(line["reason"])
                elif line["notice"] == "taken":
                    self.taken[line["client"]].append(line["number"])
                    order[socket].append(line["number"])
                else:
                    self.problems.append(f"{app.label}: {line}")
            if app.is_alive:
                self.open |= {
                    socket for socket in self.connects if socket[0] == app.label and not self.ends[socket]
                }
        self.out_of_order = [socket for socket, numbers in order.items() if numbers != sorted(numbers)]
        return self

    def of(self, *nodes: str) -> Iterable[Line]:
        """The clients that began at these nodes."""
        heads = tuple(f"{node}." for node in nodes)
        return [client for name, client in self.clients.items() if name.startswith(heads)]

    # -- what must hold in every scenario ----------------------------------------------------------

    def check(self, *, in_order: bool = True) -> None:
        """At most once, in order, acked means taken, and each connect has one disconnect."""
        for name, client in self.clients.items():
            taken = Counter(self.taken[name])
            assert not [number for number, times in taken.items() if times > 1], f"{name}: taken twice"
            assert set(client["acked"]) <= set(taken), f"{name}: acked, but not taken"
            assert client["acked"] == sorted(set(client["acked"])), f"{name}: acks are out of order"
            for label, news in client["news"].items():
                shown = news if in_order else sorted(news)
                assert shown == sorted(set(news)), f"{name}: news of {label} twice or out of order: {news}"
        assert self.out_of_order == []
        assert {socket: times for socket, times in self.connects.items() if times != 1} == {}
        assert {socket: why for socket, why in self.ends.items() if len(why) > 1} == {}
        assert set(self.ends) <= set(self.connects), "a disconnect without a connect"
        assert self.open == set()

    @property
    def stayed(self) -> list[Line]:
        """Clients that were never disconnected."""
        return [client for client in self.clients.values() if not client["ends"]]

    @property
    def ended(self) -> list[Line]:
        """Clients that were disconnected at least once."""
        return [client for client in self.clients.values() if client["ends"]]

    def undisturbed(self, *nodes: str) -> None:
        """The clients that began at these nodes, or all, were never disconnected."""
        ended = [client["name"] for client in self.ended]
        assert not [name for name in ended if not nodes or name.split(".")[0] in nodes], ended

    def came_back(self, *nodes: str) -> None:
        """The clients that began at these nodes lost their connection, and came back."""
        for client in self.of(*nodes):
            assert len(client["ends"]) >= 1, f"{client['name']} was not disconnected"
            assert client["connects"] >= 2

    @property
    def unanswered(self) -> int:
        """Events that an app server took and whose ack did not reach the client."""
        return sum(len(set(self.taken[name]) - set(one["acked"])) for name, one in self.clients.items())

    def missed(self, client: Line, label: str) -> list[int]:
        """News of an app server that a client did not get after its first."""
        got = set(client["news"][label])
        return [number for number in range(min(got), max(got)) if number not in got]

    def reasons(self) -> Counter[str]:
        """Reasons of the disconnects at the app servers."""
        return Counter(reason for reasons in self.ends.values() for reason in reasons)

    @property
    def figures(self) -> str:
        """One line for people."""
        clients = self.clients.values()
        return (
            f"events: sent {sum(client['sent'] for client in clients)}, "
            f"taken {sum(map(len, self.taken.values()))}, acked {sum(len(c['acked']) for c in clients)}, "
            f"taken without ack {self.unanswered}; "
            f"emits: {sum(app.last for app in self._apps)}, "
            f"received {sum(len(news) for client in clients for news in client['news'].values())}, "
            f"missed {sum(len(self.missed(c, label)) for c in clients for label in c['news'])}; "
            f"connects {sum(self.connects.values())}, disconnects {dict(self.reasons())}"
            + (f"; problems {self.problems[:3]}" if self.problems else "")
        )
