"""Connects the parts that let recoverable sockets survive the loss of a node."""

from __future__ import annotations

import time
from typing import Final

from moorage.cluster.recovery.jetstream import JetStreamStore
from moorage.cluster.router import Router
from moorage.config.model import Config
from moorage.hub.node import Node
from moorage.hub.settings import HubSettings

KEPT_LONGER: Final = 180.0
"""Seconds for which a journal is kept, beyond the longest time that a client may be away."""


def keep_journal(config: Config, node: Node, router: Router) -> JetStreamStore | None:
    """The store of a node that keeps a journal. Call it before the first hub exists."""
    if config.recovery.store == "memory":
        return None
    longest = max([each.recovery_max_disconnection for each in (HubSettings(), *config.hubs.values())])
    store = JetStreamStore(config.cluster, config.recovery, node.incarnation, seconds=longest + KEPT_LONGER)
    keeping = node.keep(store, time.time)
    store.superseded = keeping.journal.close
    router.recovery.keep(store)
    return store
