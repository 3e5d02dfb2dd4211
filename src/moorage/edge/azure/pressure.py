"""What the service does with clients whose app server is slower than they are, in the azure dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from moorage.edge.azure.channel import Channel, Tunnel
from moorage.edge.resuming import Resuming
from moorage.engine.exchange import Unsent
from moorage.hub.hub import LINK, Client
from moorage.hub.turns import Turns

HELD_PER_CLIENT: Final = 64 * 1024
"""Bytes held for one client above which it is not read. TCP then slows the client down."""


class Pressure:
    """Packets that no tunnel can take, at most `limit` bytes of all clients together, and the clients that
    are not read meanwhile."""

    def __init__(self, turns: Turns, limit: int) -> None:
        self.paused: set[Client] = set()
        """The clients that are not read."""
        self._resuming = Resuming(turns, _read)
        self._limit = limit
        self._held_bytes = 0

    def hold(self, channel: Channel, packet: bytes) -> bool:
        """Keep a packet. False if too many bytes wait; then the client's packets are gone."""
        if channel.held is None:
            channel.held = Unsent()
        channel.held.add(packet)
        self._held_bytes += len(packet)
        if self._held_bytes > self._limit:
            self.take(channel)
            return False
        if channel.held.size > HELD_PER_CLIENT:
            self._pause(channel.connection)
        return True

    def take(self, channel: Channel) -> list[bytes]:
        """The packets that are held for a channel. They are held no longer."""
        held, channel.held = channel.held, None
        if not held:
            return []
        self._held_bytes -= held.size
        return held.take()

    def hold_back(self, connection: Client, tunnel: Tunnel) -> None:
        """Stop reading from this client, and from all clients long before the link would be closed. A burst
        of many clients is not a fault of the app server."""
        self._pause(connection)
        if tunnel.crowded and not tunnel.held_back:
            tunnel.held_back = True
            for channel in tunnel.channels:
                self._pause(channel.connection)

    def _pause(self, connection: Client) -> None:
        if connection not in self.paused and connection.hold(LINK):
            self.paused.add(connection)
            self._resuming.forget(connection)

    def forget(self, connection: Client) -> None:
        """The client is gone."""
        self.paused.discard(connection)
        self._resuming.forget(connection)

    def resume(self, tunnels: Iterable[Tunnel]) -> None:
        """A tunnel takes data again: read from the clients that were held back only for this reason."""
        paused, self.paused = self.paused, set()
        for tunnel in tunnels:
            tunnel.held_back = False
        self.paused.update(filter(_has_much, paused))
        self._resuming.add(paused - self.paused)


def _has_much(connection: Client) -> bool:
    """True if much of what the client has sent still waits for a tunnel."""
    held = connection.channel.held if isinstance(connection.channel, Channel) else None
    return held is not None and held.size > HELD_PER_CLIENT


def _read(connection: Client) -> None:
    connection.release(LINK)
