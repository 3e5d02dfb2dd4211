"""Settings of the cluster. `config` composes them."""

from __future__ import annotations

import os
import socket
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

# Forms of values that the type alone does not define (`config.rules`).
NatsUrls = Annotated[tuple[str, ...], Meta(extra={"kind": "nats"})]
NodeName = Annotated[str, Meta(extra={"kind": "name"})]
BaseUrl = Annotated[str, Meta(extra={"kind": "endpoint"})]
SidPrefix = Annotated[str, Meta(extra={"kind": "prefix"})]


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cluster that the service belongs to. Without `nats_url` it is alone."""

    nats_url: NatsUrls = ()
    """The NATS servers, such as `nats://user:password@10.0.0.5:4222`. The node uses one of them, and another
    one when that fails."""
    name: NodeName = "moorage"
    """The cluster's name. Clusters with different names can share the NATS servers."""
    node_name: NodeName = ""
    """The node's name in answers, logs and metrics. If empty: the machine's name and the process id."""
    region: NodeName = ""
    """The region of this node, such as `eu-west`. Nodes of one region are near each other."""
    advertise: BaseUrl = ""
    """The URL at which app servers and other nodes reach this node directly, such as `http://10.0.0.11:8080`."""
    sid_prefix: SidPrefix = ""
    """Two characters with which the ids of this node's sessions begin, such as `n1`, for load balancers that
    route by them. All workers of a machine may have the same."""

    def __repr__(self) -> str:
        # The default repr would show the passwords in tracebacks and debug lines.
        urls = tuple(without_password(url) for url in self.nats_url)
        shown = {**msgspec.structs.asdict(self), "nats_url": urls}
        return f"ClusterSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def shown_name(self) -> str:
        """The node's name for people."""
        return self.node_name or f"{socket.gethostname()[:50]}-{os.getpid()}"


def without_password(url: str) -> str:
    """A NATS URL that may be shown: without user, password and token."""
    return f"nats://{urlsplit(url).netloc.rpartition('@')[2]}"
