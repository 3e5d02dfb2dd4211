"""Settings of what recovery stores. `config` composes them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moorage.wire.sizes import GIB, Size

FolderPath = Annotated[str, Meta(extra={"kind": "path"})]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where nodes keep what clients need to come back. How much, and how long, is set for each hub."""

    store: Literal["memory", "file", "jetstream"] = "memory"
    """`memory`: clients of a node that dies get new sessions. `jetstream`: they find their sockets at another
    node; what they get is first stored by the NATS servers of the cluster, which need JetStream. `file`: the
    same for a node that is alone, with a private NATS server: clients find their sockets when it has started
    again."""
    folder: FolderPath = ""
    """The folder in which `file` keeps its data. Only one service may use it."""
    max_bytes: Annotated[Size, Meta(ge=1024 * 1024, le=1024 * GIB)] = GIB
    """Maximum bytes that the NATS servers keep for all nodes together. The oldest are dropped first."""
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Number of NATS servers that keep each message, for `jetstream`."""
