"""Serves the Admin UI. Its clients are in a hub of their own, whose name no link and no REST call can hold.
This is the hub's app server, in the service's own process."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from moorage.control.admin.access.callers import Caller, Callers
from moorage.control.admin.access.keys import Role
from moorage.control.adminui import orders, packets
from moorage.control.adminui.asking import Asking
from moorage.control.adminui.packets import Goodbye, Login, Order
from moorage.control.adminui.viewer import Viewer
from moorage.control.trace.streams import Note
from moorage.hub.hub import AppServer, Capabilities, Client
from moorage.hub.node import Node
from moorage.hub.ports import Drained, Faults
from moorage.hub.turns import Intake
from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.commands import Outcome
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import ADMIN_ROLE, ADMIN_TOO_MANY_VIEWERS, APP_CLOSED, INTERNAL, Reason

HUB: Final = "$admin"
PATH: Final = "/admin/socket.io"
MAX_VIEWERS: Final = 20
REFUSED: Final = "invalid credentials"
"""The UI asks for the password again if it gets this text."""


class AdminUi:
    """`hub.ports.AppLink` of the hub's app server."""

    def __init__(
        self,
        node: Node,
        asking: Asking,
        callers: Callers,
        note: Note,
        *,
        faults: Faults,
        default_hub: str,
        session_ttl: float,
    ) -> None:
        self._node = node
        self._asking = asking
        self._callers = callers
        self._note = note
        self._faults = faults
        self._default_hub = default_hub
        self._session_ttl = session_ttl
        self._intake = Intake(node.turns)
        self._addresses: dict[str, str] = {}
        self._viewers: dict[tuple[str, str], tuple[Viewer, asyncio.Task[None]]] = {}
        """By connection and namespace."""

    def begin(self) -> None:
        """Accept clients from now on."""
        server = AppServer("admin-ui", self, "admin-ui", Capabilities())
        server.home = False
        server.since = self._node.clock()
        self._node.ensure_hub(HUB).servers.add(server)
        server.up = True

    # -- hub.ports.AppLink ------------------------------------------------------------------------

    def open(self, connection: Client, handshake: Handshake) -> None:
        """As in the port. Everybody gets a session, and nothing without a password."""
        self._addresses[connection.id] = handshake.origin().address
        self._node.accept(connection, OpenInfo())

    def forward(self, connection: Client, packet: bytes) -> None:
        """As in the port."""
        what = packets.received(packet)
        if isinstance(what, Login):
            self._login(connection, what)
        elif isinstance(what, Order):
            self._obey(connection, what)
        elif isinstance(what, Goodbye):
            self._end(connection.id, what.namespace)

    def closed(self, connection: Client, reason: Reason) -> None:
        """As in the port."""
        self._addresses.pop(connection.id, None)
        for connection_id, namespace in tuple(self._viewers):
            if connection_id == connection.id:
                self._end(connection_id, namespace)

    def drained(self, connection: Client, done: Drained) -> None:
        """As in the port."""
        done()

    def taken(self, connection: Client, done: Drained) -> None:
        """As in the port."""
        done()

    # -- logins -----------------------------------------------------------------------------------

    def _login(self, connection: Client, login: Login) -> None:
        namespace = login.namespace
        try:
            hub = self._hub_of(namespace)
            caller, token = self._authenticate(connection, login)
            if len(self._viewers) >= MAX_VIEWERS:
                raise PeerError(ADMIN_TOO_MANY_VIEWERS, f"at most {MAX_VIEWERS} Admin UIs at this node")
        except PeerError as error:
            told = REFUSED if error.reason.http == 401 else error.detail or error.reason.text
            self._send(connection, packets.refused(namespace, told))
            return
        self._send(connection, packets.accepted(namespace, secrets.token_urlsafe(15)))
        self._send(connection, packets.event(namespace, "session", token))

        def send(name: str, *arguments: Any) -> None:
            self._send(connection, packets.event(namespace, name, *arguments))

        viewer = Viewer(self._asking, hub, caller, token, send)
        task = asyncio.get_running_loop().create_task(self._run(connection, namespace, viewer))
        self._viewers[connection.id, namespace] = (viewer, task)

    def _hub_of(self, namespace: str) -> str:
        """The hub that a namespace shows. Raises `PeerError`."""
        if namespace == packets.NAMESPACE:
            return self._default_hub
        name = namespace.removeprefix(f"{packets.NAMESPACE}/")
        if name == namespace or not HUB_NAME.fullmatch(name):
            raise PeerError(ADMIN_ROLE, "Invalid namespace")
        return name

    def _authenticate(self, connection: Client, login: Login) -> tuple[Caller, str]:
        """Who it is, and the token of the session. Raises `PeerError`."""
        address, now = self._addresses.get(connection.id, ""), self._asking.now()
        if login.session:
            session = self._asking.keys.session(login.session, now)
            return Caller(session.role, address, session.expires), login.session
        role = self._callers.role_of(login.password, address)
        token = self._asking.keys.begin_session(role, now, self._session_ttl)
        return Caller(role, address, now + self._session_ttl), token

    async def _run(self, connection: Client, namespace: str, viewer: Viewer) -> None:
        try:
            await viewer.run()
        except PeerError as error:
            self._node.disconnect(connection, APP_CLOSED, who="service", detail=error.reason.text)
        except Exception as error:
            self._faults("admin-ui", error)
            self._node.disconnect(connection, INTERNAL, who="service")
        finally:
            # The UI may have left and logged in again in one step: then the entry is that of its new login.
            found = self._viewers.get((connection.id, namespace))
            if found is not None and found[0] is viewer:
                del self._viewers[connection.id, namespace]

    def _end(self, connection_id: str, namespace: str) -> None:
        found = self._viewers.pop((connection_id, namespace), None)
        if found is not None:
            found[1].cancel()

    def _send(self, connection: Client, packet: bytes) -> None:
        own = self._node.hub(HUB)
        found = None if own is None else own.directory.connections.get(connection.id)
        if found is not None:
            self._node.send(found, packet)

    # -- orders -----------------------------------------------------------------------------------

    def _obey(self, connection: Client, order: Order) -> None:
        found = self._viewers.get((connection.id, order.namespace))
        if found is None or order.name not in orders.NAMES:
            return
        viewer = found[0]
        outcome = "done"
        try:
            # The viewer looks only now and then whether its session is over.
            self._asking.check(viewer.token)
            if viewer.caller.role < Role.OPERATE:
                raise PeerError(ADMIN_ROLE)
            job = self._node.submit(orders.command(viewer.hub, order), _nothing)
            if job is not None:
                self._intake.add(job)
        except PeerError as error:
            outcome = error.reason.name
        self._note(viewer.caller, orders.NAMES[order.name], orders.shown(viewer.hub, order), outcome)


def _nothing(_about: object, _outcome: Outcome | Exception) -> None:
    """The UI has no place for the outcome of an order."""
