"""The journals of nodes on JetStream: one stream, with a subject for each node. The server drops what is
older than a client may be away, and the oldest messages if there are too many.

A node writes with the number of its last message as a condition. So the message with which another node takes
its journal over is the last one: whatever the former node wants to write after it is refused.

nats-py is used here, and not for the broker: one message holds what happened in a turn of the loop, and
JetStream's protocol is large."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nats.aio.client
import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError
from nats.js.manager import JetStreamManager

from moorage import logs
from moorage.cluster.nats import login
from moorage.cluster.recovery.lost_nodes import StoreError
from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError

SECONDS: Final = 1.0
"""Longest time that the server may take to store a message. Clients wait for it."""
READ_SECONDS: Final = 5.0
"""Longest time for one answer while a journal is read."""
WRONG_LAST: Final = 10071
"""The server's code for a condition that does not hold."""
NO_SPACE: Final = (10023, 10028, 10047)
"""The server's codes for a stream that it has no space for. By default it uses three quarters of what is
free on its disk."""
FETCHED: Final = 200
"""Messages that one request fetches."""
PIECE: Final = 512 * 1024
"""Bytes of one message."""
ATTEMPTS: Final = 5
_LAST, _MORE, _CLOSED = b"\0", b"\1", b"\2"
"""The first byte of a message: the last or another part of a page, or the end of the journal."""

log: Final = logs.get("recovery")

NOT_JETSTREAM: Final = (ValueError, TypeError, LookupError, AttributeError)
"""They come from the library for an answer that another program has given, and not JetStream."""
FAILURES: Final = (OSError, TimeoutError, nats.errors.Error, *NOT_JETSTREAM)


class JetStreamStore:
    """`hub.journal.journal.Store` of the node with this incarnation, and the journals of others. `seconds` is
    how long messages are kept."""

    def __init__(self, settings: StoreSettings, node: str, *, seconds: float) -> None:
        self._cluster: ClusterSettings
        self._settings = settings
        self._node = node
        self._seconds = seconds
        self._stream = self._prefix = ""
        self._client = nats.aio.client.Client()
        self._js: JetStreamContext
        self._manager: JetStreamManager
        self._last: int | None = 0
        """Number of this node's last message; None if it is not certain."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 1
        """Grows when another node takes this one's journal over, because it held this one for lost."""

    # -- life ---------------------------------------------------------------------------------------

    async def start(self, cluster: ClusterSettings) -> None:
        """Connect, and make the stream. Raises `UsageError`."""
        self._cluster = cluster
        self._stream = f"moorage-{cluster.name}-recovery"
        self._prefix = f"moorage.{cluster.name}.recovery"
        # The library logs each problem that it also raises.
        logging.getLogger("nats").setLevel(logging.CRITICAL)
        try:
            await self._client.connect(
                list(self._cluster.nats_url),
                name=f"{self._cluster.shown_name} recovery",
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=3,
                error_cb=_ignore,
                pending_size=64 * 1024 * 1024,
                **self._login(),
            )
            self._js = self._client.jetstream(timeout=SECONDS)
            self._manager = self._client.jsm(timeout=READ_SECONDS)
            await self._make_stream()
        except (login.NatsError, *FAILURES) as error:
            raise UsageError(f"recovery.store: JetStream cannot be used: {error or 'no answer'}") from None

    async def _make_stream(self) -> None:
        config = StreamConfig(
            name=self._stream,
            subjects=[f"{self._prefix}.*.*"],
            max_age=self._seconds,
            max_bytes=self._settings.max_bytes,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            num_replicas=self._settings.replicas,
        )
        try:
            await self._manager.add_stream(config)
        except JetStreamError as refused:
            try:
                # It exists with another age or size.
                await self._manager.update_stream(config)
            except NotFoundError:
                if isinstance(refused, APIError) and refused.err_code in NO_SPACE:
                    raise UsageError(
                        f"recovery.max_bytes: the NATS server has no space for {config.max_bytes} bytes "
                        f"({refused.description}): choose fewer, or give it more space"
                    ) from None
                raise refused from None

    def _login(self) -> dict[str, Any]:
        cluster = self._cluster
        url = urlsplit(cluster.nats_url[0])
        said: dict[str, Any] = {}
        if cluster.nats_ca or cluster.nats_cert or cluster.nats_tls_first or url.scheme == "tls":
            said = {"tls": login.tls(cluster), "tls_handshake_first": cluster.nats_tls_first}
        if cluster.nats_credentials or cluster.nats_nkey:
            # The library would try for ever with a file that cannot be read.
            login.secrets(cluster, url, "")
            # It signs only if it knows a user, which it does not send then.
            said |= {"user": "-", "password": "-", "signature_cb": self._sign}
            if cluster.nats_credentials:
                said["user_jwt_cb"] = self._jwt
        elif url.password is not None:
            said |= {"user": unquote(url.username or ""), "password": unquote(url.password)}
        elif url.username:
            said["token"] = unquote(url.username)
        return said

    def _sign(self, nonce: str) -> bytes:
        # The library itself would need another package for signatures, and one more for their keys.
        said = self._secrets(nonce)
        self._client._public_nkey = said.get("nkey")
        return said["sig"].encode()

    def _jwt(self) -> bytes:
        return self._secrets("")["jwt"].encode()

    def _secrets(self, nonce: str) -> dict[str, str]:
        try:
            return login.secrets(self._cluster, urlsplit(self._cluster.nats_url[0]), nonce)
        except login.NatsError as error:
            # After this error, and few others, the library tries again.
            raise OSError(str(error)) from None

    async def stop(self, *, forget: bool) -> None:
        """Wait for what is on its way. `forget`: the node has given its sockets away."""
        if not self._stream:
            return
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SECONDS)
        if forget:
            with contextlib.suppress(*FAILURES):
                await self._manager.purge_stream(self._stream, subject=self._own)
        with contextlib.suppress(*FAILURES):
            await self._client.close()

    # -- this node's journal ------------------------------------------------------------------------

    def put(self, page: bytes, done: Callable[[bool], object]) -> None:
        """As in the port."""
        task = asyncio.get_running_loop().create_task(self._put(page, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put(self, page: bytes, done: Callable[[bool], object]) -> None:
        try:
            if self._last is None:
                self._last = await self._find_last()
            for at in range(0, max(1, len(page)), PIECE):
                mark = _LAST if at + PIECE >= len(page) else _MORE
                expected, self._last = self._last, None
                self._last = await self._publish(self._own, mark + page[at : at + PIECE], expected)
        except (StoreError, *FAILURES) as error:
            log.warning("recovery is not stored", reason=str(error) or "no answer")
            done(False)
        else:
            done(True)

    @property
    def _own(self) -> str:
        """The subject of this node's journal."""
        return f"{self._prefix}.{self._node}.{self._begun}"

    async def _find_last(self) -> int:
        last = await self._last_of(self._own)
        if last is not None and last[1][:1] == _CLOSED:
            self._begun += 1
            self._last = 0
            raise StoreError("another node held this one for lost")
        return 0 if last is None else last[0]

    async def _publish(self, subject: str, message: bytes, expected: int | None) -> int:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected or 0)}
        ack = await self._js.publish(subject, message, timeout=SECONDS, headers=headers)
        return ack.seq

    async def _last_of(self, subject: str) -> tuple[int, bytes] | None:
        try:
            found = await self._manager.get_last_msg(self._stream, subject)
        except NotFoundError:
            return None
        return found.seq or 0, found.data or b""

    # -- journals of others -------------------------------------------------------------------------

    async def others(self) -> list[str]:
        """All nodes with a journal, but for this one. Raises `StoreError`."""
        try:
            subjects = await self._subjects("*")
        except FAILURES as error:
            raise StoreError(str(error) or "no answer") from None
        names = {subject.removeprefix(f"{self._prefix}.").partition(".")[0] for subject in subjects}
        return sorted(names - {self._node})

    async def _subjects(self, node: str) -> list[str]:
        info = await self._manager.stream_info(self._stream, subjects_filter=f"{self._prefix}.{node}.*")
        # Other programs may write to subjects of this form, too.
        return [each for each in info.state.subjects or {} if each.rpartition(".")[2].isdecimal()]

    async def take_over(self, node: str) -> list[bytes] | None:
        """The pages of a lost node, which cannot write any more. None if another node has taken its journal
        over, or if there is none. Raises `StoreError`."""
        try:
            subjects = await self._subjects(node)
            subject = max(subjects, key=lambda each: int(each.rpartition(".")[2]), default="")
            for _ in range(ATTEMPTS):
                last = await self._last_of(subject) if subject else None
                if last is None or last[1][:1] == _CLOSED:
                    return None
                try:
                    await self._publish(subject, _CLOSED + self._node.encode(), last[0])
                except APIError as error:
                    if error.err_code != WRONG_LAST:
                        raise
                    # Another node is faster, or the lost one still writes.
                    continue
                return await self._read(subject, last[0])
        except FAILURES as error:
            raise StoreError(str(error) or "no answer") from None
        raise StoreError("the lost node still writes")

    async def _read(self, subject: str, until: int) -> list[bytes]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=2 * READ_SECONDS,
        )
        consumer = await self._js.pull_subscribe(subject, stream=self._stream, config=config)
        pages: list[bytes] = []
        parts: list[bytes] = []
        try:
            while True:
                for message in await consumer.fetch(FETCHED, timeout=READ_SECONDS):
                    mark, data = message.data[:1], message.data[1:]
                    if mark != _CLOSED:
                        parts.append(data)
                    if mark == _LAST:
                        pages.append(b"".join(parts))
                        parts = []
                    if message.metadata.sequence.stream >= until:
                        return pages
        finally:
            with contextlib.suppress(*FAILURES):
                await consumer.unsubscribe()


async def _ignore(_error: Exception) -> None:
    """Each call that fails raises."""
