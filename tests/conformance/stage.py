"""The parts of one scenario: a separate namespace at one or more app servers, and clients in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from tests.conformance.apps import App
from tests.conformance.capabilities import Support, support
from tests.conformance.clients import TRANSPORTS, Client, ClientProcess
from tests.conformance.program import PATIENCE, Line
from tests.support.service import MoorageProcess

_numbers: Final = itertools.count(1)


def fresh(prefix: str) -> str:
    """A name that no other scenario uses."""
    return f"{prefix}{next(_numbers)}"


def _plain(value: Any) -> Any:
    """Replace clients by their socket ids."""
    if isinstance(value, Client):
        return value.sid
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value


class Space:
    """One namespace at one app server, as the code of an app sees it."""

    def __init__(self, app: App, ns: str) -> None:
        self.app = app
        self.ns = ns
        self.since = app.mark
        """The scenario ignores earlier notices of the app server."""

    def step(self, do: str, **fields: Any) -> Line:
        """A command for `together`."""
        return {"do": do, "ns": self.ns, **{name: _plain(value) for name, value in fields.items()}}

    def call(self, do: str, **fields: Any) -> Any:
        """Run one command and return its answer. Raises `Refused`."""
        return self.app.call(**self.step(do, **fields))

    def start(self, do: str, **fields: Any) -> Future[Any]:
        """One that takes its time."""
        return self.app.start(**self.step(do, **fields))

    def batch(self, *steps: Line) -> list[Any]:
        """Run commands one after the other, without a pause if the SDK's calls need none."""
        values: list[Any] = self.app.call("batch", commands=steps)
        return values

    def define(self, **fields: Any) -> Space:
        """Serve the namespace; `fields` define its handlers (conformance/README.md)."""
        self.call("define", **fields)
        return self

    def emit(self, *args: Any, **target: Any) -> None:
        """Emit to all, or to the sockets that `to`, `except_`, `sender` and `flags` select."""
        self.call("emit", args=args, **_target(target))

    def send(self, client: Client, *args: Any, **fields: Any) -> None:
        """Emit to one of its own sockets."""
        self.call("send", sid=client, args=args, **fields)

    def ask(self, *args: Any, timeout: int = 15_000, **target: Any) -> dict[str, Any]:
        """Emit with acks. Returns `answers`, `complete` and, if known, `missing`."""
        value: dict[str, Any] = self.call("ask", args=args, timeout=timeout, **_target(target))
        return value

    def join(self, client: Client, *rooms: str) -> None:
        """Add one of its own sockets to rooms."""
        self.call("join", sid=client, rooms=rooms)

    def leave(self, client: Client, *rooms: str) -> None:
        """Remove one of its own sockets from rooms."""
        self.call("leave", sid=client, rooms=rooms)

    def rooms(self, client: Client) -> set[str]:
        """The rooms of a socket as the app server sees them, without its private room."""
        return set(self.call("rooms", sid=client)) - {client.sid}

    def until_serves(self, *clients: Client) -> None:
        """Wait until it has exactly these sockets: one that leaves is still listed while its handler
        runs."""
        end = time.monotonic() + PATIENCE
        while (found := set(self.call("sids"))) != {client.sid for client in clients}:
            assert time.monotonic() < end, f"{found} are there"

    def until_in(self, client: Client, rooms: set[str]) -> None:
        """Wait until its rooms are these, because changes by others arrive later."""
        end = time.monotonic() + PATIENCE
        while (found := self.rooms(client)) != rooms:
            assert time.monotonic() < end, f"in {found}, not in {rooms}"

    def fetch(self, **fields: Any) -> dict[str, dict[str, Any]]:
        """The sockets that a fetch finds, by their ids."""
        return {found["id"]: found for found in self.call("fetch", **_target(fields))["sockets"]}

    # -- events of its handlers -----------------------------------------------------------------

    def wait(self, notice: str, **fields: Any) -> Line:
        """The first notice of this kind in the namespace."""
        return self.app.wait(self.since, notice=notice, ns=self.ns, **fields)

    def serves(self, client: Client) -> bool:
        """True if the client is one of its own, once an app server has reported it."""
        return bool(self.app.heard(self.since, notice="connection", ns=client.ns, sid=client.sid))

    def event(self, client: Client, name: str, at: int = 0) -> list[Any]:
        """The arguments of the client's event of this name; `at` counts from 0."""
        return self.events(client, name, at + 1)[at]

    def events(self, client: Client, name: str, count: int) -> list[list[Any]]:
        """The arguments of all its events of this name, once there are `count`."""

        def found() -> list[list[Any]] | None:
            values = [event[1:] for event in self.heard(client) if event[0] == name]
            return values if len(values) >= count else None

        values = self.app.wait_until(found, f'{count} of "{name}" from client {client.number}')
        assert values is not None
        return self.as_reported(values)

    def as_reported(self, values: list[list[Any]]) -> list[list[Any]]:
        """Arguments of events in the order in which the app reports them. A threaded app runs each handler in
        a thread of its own, so two may report in either order: theirs are sorted."""
        return sorted(values, key=repr) if self.app.sdk == "threads" else values

    def heard(self, client: Client) -> list[list[Any]]:
        """All events of the client so far."""
        lines = self.app.heard(self.since, notice="event", ns=self.ns, sid=client.sid)
        return [line["args"] for line in lines]

    def ended(self, client: Client) -> str:
        """The reason that its disconnect handler was given."""
        reason: str = self.wait("disconnect", sid=client.sid)["reason"]
        return reason


def _target(fields: dict[str, Any]) -> dict[str, Any]:
    """Rename arguments: `except` and `from` are keywords in Python."""
    names = {"except_": "except", "sender": "from"}
    return {names.get(name, name): value for name, value in fields.items()}


class Stage:
    """The hub, namespace, app servers and clients of one scenario. All `servers` serve the same hub."""

    def __init__(
        self,
        service: MoorageProcess,
        hub: str,
        servers: Sequence[App],
        clients: ClientProcess,
        transport: str,
    ) -> None:
        self.service = service
        self.hub = hub
        self.apps = servers
        self.transport = transport
        self.ns = fresh("/n")
        self.spaces = [Space(app, self.ns) for app in servers]
        self.unwanted = {"problem", "uncaught", "unhandled", "link"}
        """Notices of the app servers that fail the scenario."""
        self._clients = clients
        self._defined = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.shut()
        if error is not None:
            return
        # No scenario may cause unexpected errors.
        for space in self.spaces:
            wrong = [line for line in space.app.heard(space.since) if line["notice"] in self.unwanted]
            assert wrong == [], space.app.label

    @property
    def space(self) -> Space:
        """Of the only app server."""
        assert len(self.spaces) == 1
        return self.spaces[0]

    @property
    def sdk(self) -> str:
        """Of the only app server."""
        return self.space.app.sdk

    def support(self, api: str) -> Support:
        """The table's entry of `api` for this SDK."""
        return support(api, self.sdk)

    def root(self) -> Space:
        """The namespace `/` of the only app server, which all scenarios share."""
        return Space(self.space.app, "/")

    def at(self, ns: str, *, exact: bool = False) -> Space:
        """Another namespace at the only app server; its name is made unique unless it must be `exact`."""
        return Space(self.space.app, ns if exact else self.ns + ns)

    @contextmanager
    def dynamic(self, pattern: str, **fields: Any) -> Iterator[None]:
        """Inside the block, the only app server serves all matching namespaces."""
        app = self.space.app
        app.call("define", ns="", pattern=pattern, **fields)
        yield
        app.call("undefine", pattern=pattern)

    def define(self, **fields: Any) -> Self:
        """Define the namespace at all app servers. Call this only once: a second call would add handlers."""
        assert not self._defined
        self._defined = True
        for space in self.spaces:
            space.define(**fields)
        return self

    # -- clients --------------------------------------------------------------------------------

    def opening(self, ns: str = "", transport: str = "", auth: Any = None, **options: Any) -> Client:
        """A pending client: neither connected nor refused yet."""
        program = self._clients
        number, ns = program.number(), ns or self.ns
        if auth is not None:
            options["auth"] = auth
        options.setdefault("path", f"/clients/socketio/hubs/{self.hub}")
        return Client(
            program,
            number,
            ns,
            "open",
            client=number,
            url=self.service.url,
            transports=TRANSPORTS[transport or self.transport],
            options=options,
        )

    def client(self, **options: Any) -> Client:
        """A client whose connect its app server has reported. Raises `Refused`."""
        return self.here(self.opening(**options))

    def crew(self, count: int, **options: Any) -> list[Client]:
        """Several connected clients."""
        return [self.here(client) for client in [self.opening(**options) for _ in range(count)]]

    def here(self, client: Client) -> Client:
        """Wait for both sides of its connect."""
        client.connected()
        self.owner(client)
        return client

    def owner(self, client: Client) -> Space:
        """The app server that serves it."""

        def found() -> Space | None:
            return next((space for space in self.spaces if space.serves(client)), None)

        owner = self.spaces[0].app.wait_until(found, f"the app server of client {client.number}")
        assert owner is not None
        return owner

    # -- notices --------------------------------------------------------------------------------

    def hear(
        self, clients: Sequence[Client], act: Callable[[], object], by: Space | None = None
    ) -> list[list[list[Any]]]:
        """The events that each of `clients` gets when `act` makes the app server `by` emit.

        What does not come can only be told by what came later: a broadcast and an emit to each own
        socket go last. Azure's SDK keeps each kind in order, but not one with the other.
        """
        space = by or self.space
        act()
        mark = fresh("fence")
        fences: list[list[list[Any]]] = [[[mark, "all"]] for _ in clients]
        steps = [space.step("emit", args=[mark, "all"])]
        for fence, client in zip(fences, clients, strict=True):
            if space.serves(client):
                fence.append([mark, "one"])
                steps.append(space.step("send", sid=client, args=[mark, "one"]))
        space.batch(*steps)
        return [client.until(*fence) for client, fence in zip(clients, fences, strict=True)]
