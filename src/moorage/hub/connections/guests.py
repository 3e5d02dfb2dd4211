"""The guests of this node: clients of other nodes whose app server is linked here. A guest has no session, no
queue and no groups here. It only takes part in what passes between its app server and its own node."""

from __future__ import annotations

from moorage.hub.hub import AppServer, Client, Guest
from moorage.hub.ports import Who
from moorage.hub.turns import AT_ONCE, Intake, Job
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import TRANSPORT_LOST, Reason


class Guests:
    """All guests, by the ids of their connections. `chores` takes what is done in steps."""

    def __init__(self, chores: Intake) -> None:
        self._guests: dict[str, Guest] = {}
        self._chores = chores

    def __len__(self) -> int:
        return len(self._guests)

    def get(self, connection_id: str) -> Guest | None:
        """The guest with this id."""
        return self._guests.get(connection_id)

    def of(self, node: str) -> list[Guest]:
        """All guests of one node."""
        return [guest for guest in self._guests.values() if guest.node == node]

    def all(self) -> list[Guest]:
        """All guests of all nodes."""
        return list(self._guests.values())

    def welcome(self, guest: Guest, handshake: Handshake) -> None:
        """Offer a new guest to its app server."""
        if guest.id not in self._guests:
            self._guests[guest.id] = guest
            guest.server.guests.add(guest)
            guest.server.link.open(guest, handshake)

    def accept(self, client: Client, info: OpenInfo) -> None:
        """The app server accepts a guest."""
        guest = self._guests.get(client.id)
        if guest is None:
            # It went away while the app server was asked.
            client.server.link.closed(client, TRANSPORT_LOST)
        elif not guest.open:
            guest.open = True
            guest.owner.accepted(guest, info)

    def refuse(self, client: Client, reason: Reason, detail: str) -> None:
        """The app server refuses a guest, or did not answer."""
        guest = self._forget(client)
        if guest is not None:
            guest.owner.refused(guest, reason, detail)

    def disconnect(self, client: Client, reason: Reason, *, who: Who, detail: str) -> None:
        """End a guest on this side."""
        guest = self._forget(client)
        if guest is None:
            return
        if guest.open:
            guest.owner.close(guest, reason, who=who, detail=detail)
            guest.server.link.closed(guest, reason)
        else:
            guest.owner.refused(guest, reason, detail)

    def gone(self, guest: Guest, reason: Reason) -> None:
        """A guest's own node has ended it. If the app server has not answered yet, `accept` tells it."""
        if self._forget(guest) is not None and guest.open:
            guest.server.link.closed(guest, reason)

    def all_gone(self, node: str, reason: Reason) -> None:
        """A node is gone, with all its guests."""
        guests = self.of(node)
        if len(guests) <= AT_ONCE:
            for guest in guests:
                self.gone(guest, reason)
        else:
            self._chores.add(self._going(guests, reason))

    def _going(self, guests: list[Guest], reason: Reason) -> Job[None]:
        for place, guest in enumerate(guests):
            if place % AT_ONCE == AT_ONCE - 1:
                yield False
            self.gone(guest, reason)

    def drop_server(self, server: AppServer) -> None:
        """An app server is gone. The nodes of its guests learn that from the list of app servers."""
        for guest in tuple(server.guests):
            self._forget(guest)

    def _forget(self, client: Client) -> Guest | None:
        guest = self._guests.pop(client.id, None)
        if guest is not None:
            guest.server.guests.discard(guest)
        return guest
