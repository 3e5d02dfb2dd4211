"""The store on JetStream: one stream with a subject for the log of each node, and one key-value bucket for
the facts of sessions. The server drops what is older than a session may be away, and the oldest entries where
there are too many.

nats-py is used here, and not for the broker: a store is not in the path of each message, and JetStream's
protocol is large.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nats.aio.client
import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, KeyNotFoundError
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue
from nats.js.manager import JetStreamManager

from moorage import logs
from moorage.cluster.nats import login
from moorage.cluster.recovery.batches import Batches, entries
from moorage.cluster.recovery.ports import Stored, StoreError
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError

SECONDS: Final = 2.0
"""Longest time that the store may take for one answer."""
WRONG_REVISION: Final = 10071
"""The server's code for an entry that has changed meanwhile."""
FETCHED: Final = 100
"""Batches that one request fetches."""
AT_ONCE: Final = 100
"""Facts that are on their way to the store."""
MAX_PENDING: Final = 10_000
"""Facts that may wait for the store. What comes on top is not stored."""

log: Final = logs.get("cluster")


class JetStreamStore:
    """`cluster.recovery.ports.Store` of the node with this incarnation. `seconds` is how long a session may
    be away, and `max_bytes` the size of all logs together."""

    def __init__(
        self, settings: ClusterSettings, node: str, *, seconds: float, max_bytes: int, in_memory: bool = False
    ) -> None:
        self._settings = settings
        self._name = f"moorage-{settings.name}"
        self._subject = f"moorage.{settings.name}.log"
        self._node = node
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._storage = StorageType.MEMORY if in_memory else StorageType.FILE
        self._client = nats.aio.client.Client()
        self._stream: JetStreamContext
        self._manager: JetStreamManager
        self._facts: KeyValue
        self._batches = Batches(self._publish)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """The last request for each session that is not answered."""
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.failures = 0
        """Facts that could not be stored or removed."""

    @property
    def lost(self) -> int:
        """Entries that were not stored."""
        return self._batches.lost

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, and make the stream and the bucket. Raises `UsageError`."""
        # The library logs each problem that it also raises.
        logging.getLogger("nats").setLevel(logging.CRITICAL)
        try:
            await self._client.connect(
                list(self._settings.nats_url),
                name=f"{self._settings.shown_name} recovery",
                max_reconnect_attempts=-1,
                connect_timeout=int(SECONDS),
                error_cb=_ignore,
                allow_reconnect=True,
                **self._login(),
            )
            self._stream = self._client.jetstream(timeout=SECONDS)
            self._manager = self._client.jsm(timeout=SECONDS)
            config = StreamConfig(
                name=f"{self._name}-log",
                subjects=[f"{self._subject}.*"],
                max_age=self._seconds,
                max_bytes=self._max_bytes,
                storage=self._storage,
            )
            try:
                await self._stream.add_stream(config)
            except JetStreamError:
                # It exists with another age or size.
                await self._stream.update_stream(config)
            self._facts = await self._bucket()
        except (OSError, nats.errors.Error) as error:
            await self._client.close()
            raise UsageError(f"cluster.nats_url: JetStream cannot be used: {error or 'no answer'}") from None

    async def _bucket(self) -> KeyValue:
        name = f"{self._name}-sessions"
        try:
            return await self._stream.key_value(name)
        except JetStreamError:
            return await self._stream.create_key_value(bucket=name, storage=self._storage)

    def _login(self) -> dict[str, Any]:
        settings = self._settings
        said: dict[str, Any] = {}
        if settings.nats_ca or settings.nats_cert or settings.nats_url[0].startswith("tls:"):
            said["tls"] = login.tls(settings)
        if settings.nats_credentials:
            said["user_credentials"] = settings.nats_credentials
        elif settings.nats_nkey:
            said["nkeys_seed"] = settings.nats_nkey
        else:
            url = urlsplit(settings.nats_url[0])
            if url.password is not None:
                said |= {"user": unquote(url.username or ""), "password": unquote(url.password)}
            elif url.username:
                said["token"] = unquote(url.username)
        return said

    async def stop(self) -> None:
        """Wait until everything queued so far was tried, then disconnect."""
        await self._batches.stop()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        with contextlib.suppress(OSError):
            await self._client.close()

    # -- the port -----------------------------------------------------------------------------------------

    def append(self, entry: bytes, stored: Stored) -> None:
        """As in the port."""
        self._batches.append(entry, stored)

    async def _publish(self, batch: bytes) -> None:
        try:
            await self._stream.publish(f"{self._subject}.{self._node}", batch, timeout=SECONDS)
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise StoreError(str(error)) from None

    async def read(self, node: str) -> list[bytes]:
        """As in the port."""
        config = ConsumerConfig(
            filter_subject=f"{self._subject}.{node}",
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=10 * SECONDS,
        )
        found: list[bytes] = []
        try:
            consumer = await self._stream.pull_subscribe(
                config.filter_subject or "", stream=f"{self._name}-log", config=config
            )
            try:
                left = (await consumer.consumer_info()).num_pending or 0
                while left > len(found):
                    some = await consumer.fetch(min(FETCHED, left - len(found)), timeout=SECONDS)
                    found += [message.data for message in some]
            finally:
                await consumer.unsubscribe()
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise StoreError(str(error)) from None
        return entries(found)

    def put(self, pid: str, facts: bytes) -> None:
        """As in the port."""
        self._later(pid, self._facts.put(pid, facts))

    async def claim(self, pid: str) -> bytes | None:
        """As in the port."""
        try:
            entry = await self._facts.get(pid)
            # Only one of several can delete this revision.
            await self._facts.delete(pid, last=entry.revision)
        except KeyNotFoundError:
            return None
        except APIError as error:
            if error.err_code == WRONG_REVISION:
                return None
            raise StoreError(str(error)) from None
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise StoreError(str(error)) from None
        return entry.value

    def drop(self, pid: str) -> None:
        """As in the port."""
        # Purging the key-value bucket would leave a mark of each session that there ever was.
        bucket = f"{self._name}-sessions"
        self._later(pid, self._manager.purge_stream(f"KV_{bucket}", subject=f"$KV.{bucket}.{pid}"))

    def _later(self, pid: str, call: Coroutine[Any, Any, object]) -> None:
        if len(self._tasks) >= MAX_PENDING:
            call.close()
            self.failures += 1
            return
        # The server does not keep the order of the two kinds of requests.
        task = asyncio.get_running_loop().create_task(self._try(self._tasks.get(pid), call))
        self._tasks[pid] = task
        task.add_done_callback(lambda done: self._tasks.get(pid) is done and self._tasks.pop(pid))

    async def _try(self, before: asyncio.Task[None] | None, call: Coroutine[Any, Any, object]) -> None:
        if before is not None:
            await asyncio.wait((before,))
        try:
            async with self._turn:
                await call
        except (OSError, TimeoutError, nats.errors.Error):
            self.failures += 1


async def _ignore(_error: Exception) -> None:
    """Each call that fails raises."""
