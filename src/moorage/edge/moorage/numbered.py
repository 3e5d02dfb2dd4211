"""The clients of one session, by their numbers on the link."""

from __future__ import annotations

from weakref import WeakValueDictionary

from moorage.hub.hub import Client, Connection, Guest


class Numbered:
    """Clients of other nodes are in a table of their own, so that they cost this node's clients nothing."""

    def __init__(self) -> None:
        self.own: dict[int, Connection] = {}
        self.guests: dict[int, Guest] = {}
        self.late: WeakValueDictionary[int, Connection] = WeakValueDictionary()
        """Clients that another app server serves now, so that packets which handlers still send to them
        arrive, and clients that are gone but may come back to their sockets."""

    def add(self, number: int, client: Client) -> None:
        """Add a client."""
        if isinstance(client, Connection):
            self.own[number] = client
        elif isinstance(client, Guest):
            self.guests[number] = client

    def get(self, number: int) -> Client | None:
        """The client with this number."""
        return self.own.get(number) or self.guests.get(number)

    def release(self, number: int) -> Client | None:
        """Remove the client with this number, but let packets for it through."""
        client = self.own.pop(number, None)
        if client is not None:
            self.late[number] = client
        return client

    def pop(self, number: int) -> Client | None:
        """Remove the client with this number."""
        return self.own.pop(number, None) or self.guests.pop(number, None)
