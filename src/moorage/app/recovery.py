"""Connects the parts that let recoverable sockets survive the loss of a node, or its restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from moorage import logs
from moorage.app.folder_lock import FolderLock
from moorage.cluster.nats import server
from moorage.cluster.recovery.lost_nodes import Journals
from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.router import Router
from moorage.cluster.settings import ClusterSettings
from moorage.config.model import Config
from moorage.hub.journal import journal
from moorage.hub.node import Node
from moorage.hub.settings import HubSettings
from moorage.wire.errors import UsageError

COMPLETE: Final = "complete"
"""Name of a file in the folder of a single node that is there while everything can be stored. Without it, the
next start does not go on with the sockets: something may be missing in what is stored."""
KEPT_LONGER: Final = 180.0
"""Seconds for which a journal is kept, beyond the longest time that a client may be away."""

log: Final = logs.get("recovery")


class Store(Journals, journal.Store, Protocol):
    """`cluster.recovery.jetstream.JetStreamStore`."""

    async def start(self, cluster: ClusterSettings) -> None:
        """Raises `UsageError`."""

    async def stop(self, *, forget: bool) -> None:
        """`forget`: the node has given its sockets away."""


def jetstream(settings: StoreSettings, node: str, seconds: float) -> Store:
    """The store. Raises `UsageError` if its library is missing."""
    try:
        # Only those who use it need the library, which is in the extra `cluster`.
        from moorage.cluster.recovery.jetstream import JetStreamStore  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UsageError('recovery.store: needs a package: pip install "nats-py>=2.11"') from None
    return JetStreamStore(settings, node, seconds=seconds)


class RecoveryStore:
    """The journal of a node, and with `file` the private NATS server that keeps it. Make it before the first
    hub exists. With `memory` it does nothing."""

    def __init__(self, config: Config, node: Node, router: Router) -> None:
        self._config = config
        self._node = node
        self._router = router
        self._server: server.NatsServer | None = None
        self._lock: FolderLock | None = None
        self.store: Store | None = None
        self._alone = config.recovery.store == "file"
        self._complete = Path()
        if config.recovery.store == "memory":
            return
        longest = max([each.recovery_max_disconnection for each in (HubSettings(), *config.hubs.values())])
        self.store = jetstream(config.recovery, node.incarnation, longest + KEPT_LONGER)
        node.keep(self.store, time.time)
        router.recovery.keep(self.store)

    async def start(self) -> None:
        """Raises `UsageError`."""
        if self.store is None:
            return
        cluster = self._config.cluster
        if self._alone:
            folder = Path(self._config.recovery.folder)
            # A second NATS server on the same files would damage them, and take this one's clients over.
            self._lock = FolderLock(folder)
            await self._lock.take("recovery.folder")
            self._server = server.NatsServer(server.find("recovery.store"), folder, store=folder)
            await self._server.start()
            cluster = replace(cluster, nats_url=(self._server.url,))
        await self.store.start(cluster)
        if self._alone:
            self._complete = folder / COMPLETE
            await self._router.recovery.restart(complete=self._complete.exists())
            self._note(True)
            assert self._node.keeping is not None
            self._node.keeping.journal.changed = self._note

    def _note(self, up: bool) -> None:
        """A full disk does not keep the file from being deleted."""
        try:
            self._complete.touch() if up else self._complete.unlink(missing_ok=True)
        except OSError as error:
            log.error("whether everything is stored cannot be noted", reason=str(error))

    async def stop(self) -> None:
        """Keep what a single node has stored for its next start."""
        if self._node.keeping is not None:
            # Nothing leaves any more, so what cannot be stored from now on is no loss.
            self._node.keeping.journal.changed = bool
        if self.store is not None:
            await self.store.stop(forget=not self._alone)
        if self._server is not None:
            await self._server.stop()
        if self._lock is not None:
            self._lock.give_back()
