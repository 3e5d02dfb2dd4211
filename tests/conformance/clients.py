"""Stock clients: sockets of `socket.io-client`, all in one process."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Final

from tests.conformance.program import ROOT, Program

TRANSPORTS: Final = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}


class ClientProcess(Program):
    """Creates sockets and closes them at the end."""

    def __init__(self) -> None:
        super().__init__("clients", ["node", str(ROOT / "conformance" / "client.mjs")])
        self._next = 1
        self.open: list[int] = []
        """Numbers of the open sockets."""

    def number(self) -> int:
        """The number of a new socket."""
        self._next += 1
        self.open.append(self._next)
        return self._next

    def shut(self) -> None:
        """Close all sockets."""
        numbers, self.open = self.open, []
        if numbers:
            self.call("shut", clients=numbers)


class Client:
    """One socket. `opening` is its pending connect."""

    def __init__(self, program: ClientProcess, number: int, ns: str, do: str, **fields: Any) -> None:
        """Starts the command `do`, which opens the socket as `number`."""
        self.program = program
        self.number = number
        self.ns = ns
        self._read = program.mark  # before the command: its first events may come at once
        self.opening = program.start(do, ns=ns, **fields)
        self.sid = ""
        self.connection = ""
        """The Engine.IO session's id."""

    def connected(self) -> Client:
        """Wait until it is connected. Raises `Refused` with the `connect_error`."""
        value = self.program.result(self.opening, "connect")
        self.sid, self.connection = value["sid"], value["connection"]
        return self

    def _call(self, do: str, **fields: Any) -> Any:
        return self.program.call(do, client=self.number, **fields)

    def start(self, do: str, **fields: Any) -> Future[Any]:
        """A command that takes its time."""
        return self.program.start(do, client=self.number, **fields)

    def emit(self, *args: Any) -> None:
        """Emit an event."""
        self._call("emit", args=args)

    def ask(self, *args: Any) -> Any:
        """Emit with an ack. Returns the arguments of the answer as a list."""
        return self._call("ask", args=args)

    def act(self, do: str) -> None:
        """One of the commands without arguments: disconnect, close_engine, vanish, mute, resume."""
        self._call(do)

    def again(self, **fields: Any) -> Client:
        """Connect again after an end."""
        self.opening = self.start("again", **fields)
        return self.connected()

    def enter(self, ns: str, auth: Any = None) -> Client:
        """A socket in another namespace, on the same connection."""
        number = self.program.number()
        return Client(self.program, number, ns, "enter", client=self.number, auth=auth, **{"as": number})

    def state(self) -> dict[str, Any]:
        """The current `connected`, `sid` and `transport`."""
        value: dict[str, Any] = self._call("state")
        return value

    # -- received events ------------------------------------------------------------------------

    def events(self) -> list[list[Any]]:
        """All events since the last `until`, as `[name, ...arguments]`."""
        return [line["args"] for line in self.program.heard(self._read, notice="event", client=self.number)]

    def until(self, *marks: list[Any]) -> list[list[Any]]:
        """All events before the last of these events, without them; the next call continues from
        there."""

        def whole() -> list[list[Any]] | None:
            events = self.events()
            return events if all(mark in events for mark in marks) else None

        heard = self.program.wait_until(whole, f"{marks} at client {self.number}")
        assert heard is not None
        last = max(heard.index(mark) for mark in marks)
        self._skip(last + 1)
        return [event for event in heard[:last] if event not in marks]

    def next(self, name: str) -> list[Any]:
        """The arguments of the next event of this name; others before it are dropped."""

        def found() -> list[list[Any]]:
            return [event for event in self.events() if event[0] == name]

        event = self.program.wait_until(found, f'"{name}" at client {self.number}')[0]
        self._skip(self.events().index(event) + 1)
        return event[1:]

    def count(self, name: str, count: int) -> list[list[Any]]:
        """The arguments of all events of this name, once there are `count`."""

        def found() -> list[list[Any]] | None:
            values = [event[1:] for event in self.events() if event[0] == name]
            return values if len(values) >= count else None

        values = self.program.wait_until(found, f'{count} of "{name}" at client {self.number}')
        assert values is not None
        return values

    def _skip(self, events: int) -> None:
        lines = self.program.heard(self._read, notice="event", client=self.number)
        self._read = self.program.index(lines[events - 1]) + 1

    def came_back(self, since: int) -> None:
        """Wait until it has reconnected."""
        self.sid = self.program.wait(since, notice="connect", client=self.number)["sid"]

    def ended(self, since: int = 0) -> str:
        """The reason of its disconnect."""
        line = self.program.wait(since, notice="disconnect", client=self.number)
        reason: str = line["reason"]
        return reason
