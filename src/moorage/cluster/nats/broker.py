"""The broker of a cluster that talks over NATS servers.

Each node listens to two subjects, one of its own and one for all. A message that is sent while no server is
connected is lost, and so is one that a server drops: `router` notices by its deadlines and heartbeats.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from typing import Final
from urllib.parse import urlsplit

from moorage import logs
from moorage.cluster.nats.chunks import BadFrame, Cutter, Joiner
from moorage.cluster.nats.connection import NatsConnection, NatsError
from moorage.cluster.ports import Receive
from moorage.cluster.settings import ClusterSettings, without_password
from moorage.wire.errors import UsageError

CONNECT_SECONDS: Final = 3.0
PING_SECONDS: Final = 2.0
MAX_PINGS: Final = 2
"""A server that leaves so many pings unanswered is given up."""
BACK_OFF: Final = (0.1, 2.0)
"""The shortest and the longest pause between two rounds of attempts, in seconds."""
MAX_HEADS: Final = 10_000
_NODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Other characters have a meaning in subjects. A node's id may come from a forged message."""
_system: Final = random.SystemRandom()

log: Final = logs.get("cluster")


class NatsBroker:
    """`cluster.ports.Broker` on NATS. Call `connect` before `start`."""

    def __init__(self, settings: ClusterSettings, incarnation: str) -> None:
        self._urls = settings.nats_url
        self._name = settings.shown_name
        self._prefix = f"moorage.{settings.name}"
        self._subjects = (f"{self._prefix}.node.{incarnation}", f"{self._prefix}.all")
        self._own = incarnation
        self._head_all = f"PUB {self._prefix}.all ".encode()
        self._heads: dict[str, bytes] = {}
        self._cutter = Cutter(incarnation)
        self._joiner = Joiner()
        self._receive: Receive | None = None
        self._connection: NatsConnection | None = None
        self._closing: asyncio.Future[None] | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._stopped = False
        self._pinged = 0.0
        self.server = ""
        """The server that is used, or was used last. It may be shown."""
        self.bad = 0
        """Frames that no node sends."""

    @property
    def connected(self) -> bool:
        """True while a server is connected."""
        return self._connection is not None

    # -- life -------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to one of the servers. Raises `UsageError` if none can be used."""
        found, problems = await self._one_of(self._urls)
        if found is None:
            raise UsageError(f"cluster.nats_url: no NATS server can be used: {'; '.join(problems)}")

    def start(self, receive: Receive) -> None:
        """As in the port."""
        self._receive = receive

    def stop(self) -> None:
        """As in the port."""
        self._stopped = True
        self._receive = None
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._closing = connection.closed
            connection.close()

    async def closed(self) -> None:
        """After `stop`: wait until everything sent has left."""
        if self._closing is not None:
            await asyncio.wait((self._closing,), timeout=CONNECT_SECONDS)

    async def flush(self) -> None:
        """Wait until the server has taken all that was sent, and has handed over all it had for this node."""
        if self._connection is not None:
            await self._connection.ping()

    def tick(self, now: float) -> None:
        """Time passes: a server that does not answer is given up."""
        connection = self._connection
        if connection is not None and now - self._pinged >= PING_SECONDS:
            self._pinged = now
            if connection.pings >= MAX_PINGS:
                connection.abort("the server does not answer")
            else:
                connection.ping()

    # -- messages ---------------------------------------------------------------------------------

    def send(self, node: str, message: bytes) -> None:
        """As in the port."""
        head = self._heads.get(node)
        if head is None:
            if node == self._own or not _NODE.fullmatch(node):
                return
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            head = self._heads[node] = f"PUB {self._prefix}.node.{node} ".encode()
        self._publish(head, message)

    def send_all(self, message: bytes) -> None:
        """As in the port."""
        self._publish(self._head_all, message)

    def _publish(self, head: bytes, message: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        for frame in self._cutter.frames(message, connection.max_payload):
            connection.publish(head, frame)

    def _take(self, frame: bytes) -> None:
        try:
            message = self._joiner.message(frame)
        except BadFrame:
            self.bad += 1
            return
        if message is not None and self._receive is not None:
            try:
                self._receive(message)
            except Exception as error:
                # A defect of ours. It must not end the connection.
                log.error("message of another node failed", exc_info=error)

    # -- the connection ---------------------------------------------------------------------------

    async def _one_of(self, urls: tuple[str, ...]) -> tuple[NatsConnection | None, list[str]]:
        problems = []
        for url in urls:
            try:
                return await self._open(url), []
            except TimeoutError:
                problems.append(f"{without_password(url)}: no answer within {CONNECT_SECONDS:g} s")
            except OSError as error:
                problems.append(f"{without_password(url)}: {error.strerror or error}")
            except NatsError as error:
                problems.append(f"{without_password(url)}: {error}")
        return None, problems

    async def _open(self, url: str) -> NatsConnection:
        parts = urlsplit(url)
        made: NatsConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: NatsConnection(parts, self._name, self._subjects, receive=self._take),
                    parts.hostname or "",
                    parts.port or 4222,
                )
                await made.opened
                if made.closed.done():
                    raise NatsError("the server closed the connection")
        except BaseException:
            if made is not None:
                made.close()
            raise
        made.ended = self._ended
        self._connection = made
        self.server = without_password(url)
        log.info("connected to NATS", server=self.server)
        return made

    def _ended(self, reason: str) -> None:
        self._connection = None
        self._joiner.clear()
        if not self._stopped:
            log.warning("connection to NATS lost", reason=reason)
            self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        shortest, longest = BACK_OFF
        for attempt in itertools.count():
            # Each node begins with another server, so that a failed server's nodes spread.
            urls = tuple(_system.sample(self._urls, len(self._urls)))
            found, problems = await self._one_of(urls)
            if found is not None:
                return
            if attempt % 10 == 0:
                log.warning("no NATS server can be used", problems=problems)
            await asyncio.sleep(min(longest, shortest * 2 ** min(attempt, 10)) * _system.uniform(0.5, 1.0))
