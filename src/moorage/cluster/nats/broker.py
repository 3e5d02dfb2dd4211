"""The broker of a cluster that talks over NATS servers.

Each node listens to two subjects, one of its own and one for all. A message that is sent while no server is
connected is lost, and so is one that a server drops: `router` notices by its deadlines and heartbeats.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from moorage import logs
from moorage.cluster.nats import login
from moorage.cluster.nats.chunks import WHOLE, BadFrame, Cutter, Joiner
from moorage.cluster.nats.connection import NatsConnection
from moorage.cluster.nats.login import NatsError
from moorage.cluster.ports import Receive
from moorage.cluster.settings import ClusterSettings, without_password
from moorage.wire.errors import UsageError

CONNECT_SECONDS: Final = 3.0
PING_SECONDS: Final = 2.0
MAX_PINGS: Final = 2
"""Number of unanswered pings after which a server is given up."""
BACK_OFF: Final = (0.1, 2.0)
"""The shortest and the longest pause between two rounds of attempts, in seconds."""
CHUNK_SECONDS: Final = 10.0
"""A message that gets no further chunk for this time, or twice as long, is given up."""
LOG_SECONDS: Final = 10.0
"""Shortest time between two lines in the log about chunks that no node sends."""
MAX_HEADS: Final = 10_000
MIN_PAYLOAD: Final = 1024
"""Minimum bytes of a message that a server must take. Larger ones are cut, and each piece has a head."""
_NODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Other characters have a meaning in subjects. A node's id may come from a forged message."""
_system: Final = random.SystemRandom()

log: Final = logs.get("cluster")


class NatsBroker:
    """`cluster.ports.Broker` on NATS. Call `connect` before `start`."""

    def __init__(self, settings: ClusterSettings, incarnation: str) -> None:
        self._settings = settings
        self._discovered: tuple[str, ...] = ()
        """Servers that a server has told of."""
        self._prefix = f"moorage.{settings.name}"
        self._subjects = (f"{self._prefix}.node.{incarnation}", f"{self._prefix}.all")
        self._own = incarnation
        self._head_all = f"PUB {self._prefix}.all ".encode()
        self._heads: dict[str, bytes] = {}
        self._cutter = Cutter(incarnation)
        self._joiner = Joiner()
        self._receive: Receive = _drop
        self._connection: NatsConnection | None = None
        self._closing: asyncio.Future[None] | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._stopped = False
        self._url: SplitResult | None = None
        self._pinged = 0.0
        self._looked = 0.0
        self.server = ""
        """The server that is used, or was used last. It may be shown."""
        self.bad = 0
        """Frames that no node sends."""
        self._logged = -LOG_SECONDS

    @property
    def connected(self) -> bool:
        """True while a server is connected."""
        return self._connection is not None

    # -- life -------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to one of the servers. While `cluster.wait` lasts, try again. Raises `UsageError`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.wait
        for attempt in itertools.count():
            problems = await self._one_of(self._settings.nats_url)
            if not problems:
                return
            left = until - loop.time()
            if left <= 0:
                raise UsageError(f"cluster.nats_url: no NATS server can be used: {'; '.join(problems)}")
            if attempt % 10 == 0:
                log.warning("no NATS server can be used; waiting", problems=problems, seconds=round(left))
            await asyncio.sleep(min(left, _pause(attempt)))

    def start(self, receive: Receive) -> None:
        """As in the port."""
        self._receive = receive
        if self._connection is not None:
            self._connection.receive = self._receive

    def stop(self) -> None:
        """As in the port."""
        self._stopped = True
        self._receive = _drop
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
        if now - self._looked >= CHUNK_SECONDS:
            self._looked = now
            self._joiner.forget_idle()
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
        connection = self._connection
        if connection is not None:
            if len(message) < connection.max_payload:
                connection.publish(head, WHOLE, message)
            else:
                self._publish_chunks(connection, head, message)

    def soon(self, call: Callable[[], object]) -> None:
        """Make a call at the end of this turn of the loop, right before the messages of the turn are
        written."""
        connection = self._connection
        if connection is None:
            asyncio.get_running_loop().call_soon(call)
        else:
            connection.soon(call)

    def send_all(self, message: bytes) -> None:
        """As in the port."""
        connection = self._connection
        if connection is not None:
            if len(message) < connection.max_payload:
                connection.publish(self._head_all, WHOLE, message)
            else:
                self._publish_chunks(connection, self._head_all, message)

    def _publish_chunks(self, connection: NatsConnection, head: bytes, message: bytes) -> None:
        for mark, chunk in self._cutter.chunks(message, connection.max_payload):
            connection.publish(head, mark, chunk)

    def _chunk(self, frame: bytes) -> None:
        try:
            message = self._joiner.message(frame)
        except BadFrame:
            self.bad += 1
            now = asyncio.get_running_loop().time()
            if now - self._logged >= LOG_SECONDS:
                self._logged = now
                log.warning("chunks that no node sends were dropped", chunks=self.bad)
            return
        if message is not None:
            self._receive(message)

    # -- the connection ---------------------------------------------------------------------------

    async def _one_of(self, urls: Sequence[str]) -> list[str]:
        """Connect to the first that can be used. Returns the problems of all, if none can."""
        problems = []
        for url in urls:
            try:
                await self._open(url)
                return []
            except TimeoutError:
                problem = f"no answer within {CONNECT_SECONDS:g} s"
                if not self._settings.nats_tls_first:
                    problem += " (cluster.nats_tls_first, if it waits for TLS)"
            except ssl.SSLCertVerificationError as error:
                problem = f"its certificate is not accepted: {error.verify_message}"
            except ssl.SSLError as error:
                problem = f"TLS: {error.reason}"
            except OSError as error:
                problem = error.strerror or str(error)
            except NatsError as error:
                problem = str(error)
            except ValueError as error:
                problem = f"no address: {error}"
            problems.append(f"{without_password(url)}: {problem}")
        return problems

    async def _open(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        first = login.tls(self._settings) if self._settings.nats_tls_first else None
        made: NatsConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: NatsConnection(self._receive, self._chunk),
                    host,
                    parts.port or 4222,
                    ssl=first,
                    server_hostname=self._name_in_certificate(parts) if first else None,
                )
                await self._log_in(made, parts)
                if made.closed.done():
                    raise NatsError("the server closed the connection")
        except BaseException:
            if made is not None:
                made.close()
            raise
        made.ended = self._ended
        made.receive = self._receive
        self._connection = made
        self._url = parts
        self.server = without_password(url)
        log.info("connected to NATS", server=self.server)

    async def _log_in(self, made: NatsConnection, url: SplitResult) -> None:
        info = await made.greeted
        if made.max_payload < MIN_PAYLOAD:
            raise NatsError(f"its max_payload is {made.max_payload}, and nodes need {MIN_PAYLOAD} at least")
        settings = self._settings
        asked = url.scheme == "tls" or settings.nats_ca or settings.nats_cert
        if not settings.nats_tls_first and (asked or info.get("tls_required")):
            if not (info.get("tls_required") or info.get("tls_available")):
                raise NatsError("the server has no TLS, which tls:// and cluster.nats_ca ask for")
            await made.start_tls(login.tls(settings), self._name_in_certificate(url))
        said: dict[str, Any] = {"verbose": False, "pedantic": False, "echo": False, "headers": False}
        said |= {"name": settings.shown_name, "lang": "python", "version": "0", "protocol": 1}
        said |= login.secrets(settings, url, str(info.get("nonce", "")))
        made.log_in(said, self._subjects)
        await made.opened

    def _name_in_certificate(self, url: SplitResult) -> str:
        """A server that another one told of has an address, but its certificate has the common name."""
        host = url.hostname or ""
        if any(urlsplit(each).hostname == host for each in self._settings.nats_url):
            return host
        return urlsplit(self._settings.nats_url[0]).hostname or host

    def _ended(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        self._joiner.clear()
        if connection is not None and self._url is not None:
            scheme, (secret, at, _) = self._url.scheme, self._url.netloc.rpartition("@")
            servers = filter(_is_address, connection.servers)
            self._discovered = tuple(f"{scheme}://{secret}{at}{server}" for server in servers)
        if not self._stopped:
            log.warning("connection to NATS lost", reason=reason)
            self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        for attempt in itertools.count():
            # Each node begins with another server, so that a failed server's nodes spread.
            urls = list(dict.fromkeys((*self._settings.nats_url, *self._discovered)))
            _system.shuffle(urls)
            problems = await self._one_of(urls)
            if not problems:
                return
            if attempt % 10 == 0:
                log.warning("no NATS server can be used", problems=problems)
            await asyncio.sleep(_pause(attempt))


def _is_address(server: str) -> bool:
    """True if a server is told of in a form that can be tried."""
    try:
        return bool(urlsplit(f"//{server}").hostname)
    except ValueError:
        return False


def _pause(attempt: int) -> float:
    shortest, longest = BACK_OFF
    return min(longest, shortest * 2.0 ** min(attempt, 10)) * _system.uniform(0.5, 1.0)


def _drop(_message: bytes) -> None:
    """Before the start and after the stop, messages that arrive are dropped."""
