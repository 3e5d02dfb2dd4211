"""Closes the clients of a node that drains: at a steady pace, and each one only after its queue is empty."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from moorage import logs
from moorage.config.model import ShutdownSettings
from moorage.hub.hub import Client, Connection
from moorage.hub.node import Node
from moorage.wire.reasons import DRAINING

STEP: Final = 0.01
"""Seconds between two looks at the clients. In each, those are closed whose time has come."""
LAST_SECONDS: Final = 2.0
"""After the last client is closed, clients have this time to take their last bytes. App servers have until
`shutdown.timeout` to take their last events."""
JOB_SECONDS: Final = 1.0
"""Longest time in a row in which no client is closed because sends in steps are under way."""
LEAVE_SECONDS: Final = 10.0
"""After the last client is closed, other nodes have this time to fetch the sockets whose clients are away."""
RESERVE: Final = 0.1
"""Part of `shutdown.timeout` that is kept for the last bytes of clients and links."""
MAX_RESERVE: Final = LAST_SECONDS + 0.5
"""The longest such reserve, in seconds."""

log: Final = logs.get("app")


class Pace:
    """How many clients should be closed by when. Times are in seconds."""

    def __init__(self, settings: ShutdownSettings, clients: int, left: float) -> None:
        wanted = max(clients / settings.rate, settings.spread if clients else 0.0)
        self.seconds = min(wanted, left)
        """Seconds from the first closed client to the last one."""
        self.hurried = wanted > left
        """True if the clients are closed faster than configured, because `shutdown.timeout` comes first."""
        self._clients = clients

    def due(self, passed: float) -> int:
        """Number of clients that should be closed after `passed` seconds."""
        if passed >= self.seconds:
            return self._clients
        return min(self._clients, 1 + int(self._clients * passed / self.seconds))


def seconds_for(settings: ShutdownSettings, clients: int) -> float:
    """Seconds until the last of `clients` clients is closed, the wait before the first one included."""
    left = settings.timeout - settings.lb_wait - reserve(settings)
    return settings.lb_wait + Pace(settings, clients, max(0.0, left)).seconds


def reserve(settings: ShutdownSettings) -> float:
    """Seconds at the end of `shutdown.timeout` in which only last bytes are sent."""
    return min(RESERVE * settings.timeout, MAX_RESERVE)


async def close_clients(node: Node, settings: ShutdownSettings, until: float) -> None:
    """Close all clients and guests before the loop's time `until`. A client whose queue is not empty when
    its turn comes is closed as soon as it is, at the latest at `until`. None is closed in the middle of a
    send that is done in steps: it may not have reached this client."""
    loop = asyncio.get_running_loop()
    waiting = deque(node.everyone())
    began = loop.time()
    pace = Pace(settings, len(waiting), max(0.0, until - began))
    if pace.hurried:
        log.warning("clients are closed faster, or shutdown.timeout would end first", clients=len(waiting))
    held: list[Client] = []
    closed, idle = 0, began
    while waiting or held:
        now = loop.time()
        if node.turns.busy and now < min(until, idle + JOB_SECONDS):
            await asyncio.sleep(STEP)
            continue
        idle = now
        held = [each for each in held if not _close_if_flushed(node, each)]
        due = pace.due(now - began)
        while waiting and closed < due:
            closed += 1
            client = waiting.popleft()
            if not _close_if_flushed(node, client):
                held.append(client)
        if now >= until:
            if held:
                log.warning("clients closed before they had read everything", clients=len(held))
            close_now(node, held)
            return
        if waiting or held:
            await asyncio.sleep(STEP)


def close_now(node: Node, some: Iterable[Client]) -> None:
    """Close these clients at once. What is queued for them is sent if they read it in time."""
    for connection in some:
        node.disconnect(connection, DRAINING, who="service")


def _close_if_flushed(node: Node, client: Client) -> bool:
    """Close a client, unless data is queued for it. True if it is closed. A guest's queue is at its own node,
    which gets the end behind the guest's last packet."""
    if isinstance(client, Connection) and client.outbox.size:
        if client.outbox.ready:
            client.outbox.flush()
        if client.outbox.size:
            return False
    node.disconnect(client, DRAINING, who="service")
    return True


async def once_true(wanted: Callable[[], bool], until: float) -> None:
    """Wait until `wanted` is true, or until the loop's time `until`."""
    loop = asyncio.get_running_loop()
    while not wanted() and loop.time() < until:
        await asyncio.sleep(STEP)
