"""Answers the questions of operators about this node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from moorage.hub.connections.clients import Clients
from moorage.hub.hub import AppServer, Hub
from moorage.hub.inspect.busiest import Busiest
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.connections import Page
from moorage.hub.inspect.endings import Endings
from moorage.hub.inspect.rooms import LargestRooms, RoomIndex
from moorage.hub.inspect.rows import full
from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.inspect import forms
from moorage.wire.inspect.forms import AppRow, HubRow, Question, Rows
from moorage.wire.reasons import API_BAD_ARGUMENT

STEP: Final = 50
"""Hubs or app servers in one step."""
Answer = Callable[[Any], "Rows | Job[Rows] | None"]
"""Answers one kind of question, at once or in steps. None: this node has no answer, and sends no report."""


class Inspector:
    """`hub.ports.Inspector`. `name` is the node's name for people, `drain` makes the node drain."""

    def __init__(
        self,
        clients: Clients,
        name: str,
        *,
        census: Census,
        rooms: RoomIndex,
        endings: Endings,
        drain: Callable[[], object],
    ) -> None:
        self._clients = clients
        self._name = name
        self._census = census
        self._rooms = rooms
        self.drain = drain
        self._answers: dict[str, tuple[type[Question], Answer]] = {}
        largest = LargestRooms(clients, rooms)
        self.busiest = Busiest(clients, census, name)
        self.add(forms.CONNECTIONS, forms.PageOf, self._connections)
        self.add(forms.CONNECTION, forms.ConnectionQuery, self._connection)
        self.add(forms.BUSIEST, forms.BusiestQuery, self.busiest.gather)
        self.add(forms.HUBS, Question, self._hubs)
        self.add(forms.APPS, forms.AppsQuery, self._apps)
        self.add(forms.ROOMS, forms.RoomsOf, largest.largest)
        self.add(forms.ROOM_COUNTS, forms.RoomCounts, largest.counts)
        self.add(forms.DISCONNECTS, forms.DisconnectsQuery, lambda asked: endings.list(asked, name))

    def add(self, what: str, question: type[Question], answer: Answer) -> None:
        """Answer questions of another kind, too."""
        self._answers[what] = (question, answer)

    def inspect(self, what: str, arguments: bytes) -> Job[bytes]:
        """As in the port."""
        known = self._answers.get(what)
        if known is None:
            # A newer node asks. It takes this one for missing.
            return b""
        question, answer = known
        try:
            asked = msgspec.json.decode(arguments, type=question)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise PeerError(API_BAD_ARGUMENT, str(error)[:200]) from None
        found = answer(asked)
        rows = found if found is None or isinstance(found, Rows) else (yield from found)
        yield False
        return b"" if rows is None else msgspec.json.encode(rows)

    def _connections(self, asked: forms.PageOf) -> Job[Rows]:
        return Page(self._clients, self._census, self._name, asked.query, asked.cursor).gather()

    def _connection(self, asked: forms.ConnectionQuery) -> Job[Rows] | None:
        for hub in self._clients.hubs.values():
            connection = hub.directory.connections.get(asked.id)
            if connection is not None:
                return full(connection, self._name, self._clients.clock())
        return None

    def _hubs(self, _asked: Question) -> Job[Rows]:
        rows: list[HubRow] = []
        for name, hub in tuple(self._clients.hubs.items()):
            rows.append(self._hub(name, hub))
            if len(rows) % STEP == 0:
                yield False
        return forms.NodeHubs(hubs=rows)

    def _hub(self, name: str, hub: Hub) -> HubRow:
        shared = hub.tally is self._clients.tallies.rest
        return HubRow(
            name=hub.name,
            connections=len(hub.directory.connections),
            sockets=self._census.sockets[name],
            rooms=self._rooms.count(name),
            app_servers=len(hub.servers),
            parked=0 if hub.recovery is None else len(hub.recovery.away),
            messages_in=None if shared else hub.tally.received,
            messages_out=None if shared else hub.tally.sent,
        )

    def _apps(self, asked: forms.AppsQuery) -> Job[Rows]:
        rows: list[AppRow] = []
        for looked, (name, hub) in enumerate(tuple(self._clients.hubs.items())):
            if asked.hub is None or asked.hub.casefold() == name:
                for server in hub.servers.all():
                    rows.append(self._app(hub, server))
                    if len(rows) % STEP == 0:
                        yield False
            if looked % STEP == STEP - 1:
                yield False
        return forms.NodeApps(apps=rows)

    def _app(self, hub: Hub, server: AppServer) -> AppRow:
        return AppRow(
            hub=hub.name,
            id=server.id,
            instance=server.instance,
            dialect=server.dialect,
            sdk=server.sdk,
            node=self._name,
            address=server.address,
            clients=server.load,
            up=server.up,
            draining=server.draining,
            # An app server without a link takes nothing, and is `away` for that.
            behind=server.up and server.behind,
            emit_only=server.emit_only,
            home=server.home,
            recovery=server.recovery,
            age=round(self._clients.clock() - server.since, 1),
        )
