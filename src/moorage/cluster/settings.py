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
FilePath = Annotated[str, Meta(extra={"kind": "path"})]
BaseUrl = Annotated[str, Meta(extra={"kind": "endpoint"})]
SidPrefix = Annotated[str, Meta(extra={"kind": "prefix"})]


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cluster that the service belongs to. Without `nats_url` it is alone."""

    nats_url: NatsUrls = ()
    """The NATS servers, such as `nats://user:password@10.0.0.5:4222`, `nats://token@host`, or `tls://host`.
    The node uses one of them, and another one when that fails. It also finds the servers of their cluster."""
    nats_ca: FilePath = ""
    """A file with the certificates that sign those of the NATS servers. If empty: those of the system."""
    nats_cert: FilePath = ""
    """A file with the certificate that this node shows to NATS servers."""
    nats_key: FilePath = ""
    """A file with the key of `nats_cert`, if it is not in the same file. The key has no password."""
    nats_tls_first: bool = False
    """Encrypt before the server says anything, for NATS servers with `tls: {handshake_first: true}`."""
    nats_nkey: FilePath = ""
    """A file with the seed of the nkey with which the node logs in (`SU...`)."""
    nats_credentials: FilePath = ""
    """A credentials file (`.creds`) with which the node logs in."""
    wait: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Time for which the start waits for a NATS server that can be used."""
    name: NodeName = "moorage"
    """The cluster's name. Clusters with different names can share the NATS servers."""
    node_name: NodeName = ""
    """The node's name in answers, logs and metrics. If empty: the machine's name and the process id."""
    region: NodeName = ""
    """The region of this node, such as `eu-west`. Nodes of one region are near each other: joins wait for
    them only, and app servers are linked to them only ([regions](../explanation/regions.md))."""
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


class CoverageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The nodes of a cluster at which an app server has a session."""

    max: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """Number of nodes at which an app server has a session, if the cluster has more. An app server may have a
    few more, so that each node is covered by two. All nodes of a cluster need the same value."""


def without_password(url: str) -> str:
    """A NATS URL that may be shown: without user, password and token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
