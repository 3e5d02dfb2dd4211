"""Settings of the client port and of links. `config` composes them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moorage.hub.settings import Limits
from moorage.wire.sizes import GIB, Size

# Forms of values that the type alone does not define (`config.rules`).
BaseUrl = Annotated[str, Meta(extra={"kind": "endpoint"})]
Networks = Annotated[tuple[str, ...], Meta(extra={"kind": "networks"})]
Origins = Annotated[tuple[str, ...], Meta(extra={"kind": "origins"})]
FilePath = Annotated[str, Meta(extra={"kind": "path"})]


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS of the client port. The files are read at the start and at each reload (SIGHUP)."""

    cert_file: FilePath = ""
    """A file with the certificate that clients and app servers see, and behind it the certificates between it
    and a known authority (PEM). If it is set, the port speaks TLS only."""
    key_file: FilePath = ""
    """A file with the private key (PEM), if it is not in `cert_file` too."""
    key_password_file: FilePath = ""
    """A file with the password of the key, if it has one."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is accepted."""
    ca_file: FilePath = ""
    """A file with the certificates by which this node recognises the other nodes of its cluster, if their
    `cluster.advertise` begins with `https`. If empty: those of the system."""


class CompressionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compression of broadcasts for WebSocket clients that can take it (permessage-deflate, RFC 7692)."""

    enabled: bool = False
    """Whether the service agrees to compression if a client offers it, as browsers do."""
    threshold: Annotated[Size, Meta(ge=64, le=GIB)] = 1024
    """Shorter packets are sent as they are."""
    max_size: Annotated[Size, Meta(ge=1024, le=64 * 1024**2)] = 256 * 1024
    """Longer payloads are sent as they are: others wait while one is compressed, about 10 ms for 1 MB. It
    also bounds the memory."""
    level: Annotated[int, Meta(ge=1, le=9)] = 1
    """1 is fastest, 9 makes the shortest messages."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listener. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    worker_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """With several workers: the first worker's own port, for links and other nodes. The second worker takes
    the next port, and so on. 0 selects free ports."""
    public_endpoint: BaseUrl = ""
    """The URL that clients use, behind a proxy; it is the audience of tokens. If empty, the request's
    Host header is used. App servers may link by this URL or by any other address of the service."""
    trusted_proxies: Networks = ()
    """Networks of trusted proxies, such as `127.0.0.1` or `10.0.0.0/8`. The client's address is taken from
    their `X-Forwarded-For` or `Forwarded` header, and `http` or `https` from `X-Forwarded-Proto` or
    `Forwarded`; these headers are ignored from any other peer."""
    proxy_protocol: bool = False
    """Whether the trusted proxies begin each connection with a PROXY header of version 2, which names the
    client (haproxy: `send-proxy-v2`). Connections of other peers must not have one."""
    tls: TlsSettings = TlsSettings()
    compression: CompressionSettings = CompressionSettings()
    allow: Networks = ()
    """Networks from which clients may connect; if empty, from everywhere. Links, REST and metrics are not
    affected. The address is the one that the app sees."""
    deny: Networks = ()
    """Networks from which clients may not connect, even if `allow` has them."""
    max_tcp_per_address: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Maximum open TCP connections of one address (of IPv6: one /64 network) at this node, with or without a
    session; 0 for no limit. Clients behind one NAT share an address. Trusted proxies have no limit; with
    `proxy_protocol` the client that they name counts."""
    backlog: Annotated[int, Meta(ge=1, le=65_535)] = 4096
    header_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Maximum time from the first byte of a request to the end of its headers."""
    max_header_bytes: Annotated[Size, Meta(ge=1024, le=1024**2)] = 16 * 1024
    body_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Maximum time from the end of the headers to the end of the body."""
    answer_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """An HTTP client that reads nothing of an answer for this long is disconnected."""
    keep_alive: Annotated[float, Meta(ge=0, le=3600)] = 75.0
    """An idle HTTP connection is kept open this long."""
    upgrade_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Maximum time from the WebSocket of a transport upgrade to its last handshake packet."""
    max_relays: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    """Maximum requests and WebSockets of other nodes' sessions that this node relays at a time."""
    post_wait: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Maximum time that a polling POST waits for the app server to take its packets."""


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Links of app servers. Times in seconds."""

    grace: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """Time that an app server may be without a link before its clients are closed."""
    hold: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Time that a client whose app server hands it over waits for another one before it is closed."""
    keepalive: Annotated[float, Meta(ge=1, le=110)] = 40.0
    """In the azure dialect: interval of keep-alive frames. Azure's client closes a link silent for 120 s."""
    heartbeat: Annotated[float, Meta(ge=0.5, le=60)] = 5.0
    """In the moorage dialect: interval of keep-alive batches. A link is lost after three silent intervals."""
    window: Annotated[Size, Meta(ge=64 * 1024, le=GIB)] = 4 * 1024 * 1024
    """In the moorage dialect: maximum unacknowledged bytes that an app server may send."""
    connect_timeout: Annotated[float, Meta(ge=0.1, le=600)] = 35.0
    """Maximum time for the app server's answer to a connect event (Azure's SDK stops waiting after 30 s)."""
    invoke_timeout: Annotated[float, Meta(ge=0.1, le=86_400)] = 120.0
    """Time that an emit with acks waits for missing acks."""
    max_frame: Annotated[Size, Meta(ge=64 * 1024, le=GIB)] = 16 * 1024 * 1024
    """Maximum bytes of one frame from an app server; in the moorage dialect, of one batch."""
    max_waiting_bytes: Annotated[Size, Meta(ge=0, le=64 * GIB)] = 16 * 1024 * 1024
    """Bytes of client events that are queued for an app server without a link, or sent and unanswered, above
    which the service stops reading from its clients."""
    max_links_per_server: Annotated[int, Meta(ge=1, le=10_000)] = 32
    """Maximum links of one app server on this node."""


class EdgeLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits for peers. A peer that exceeds one is refused or closed with a numbered reason."""

    max_packets_per_payload: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Maximum packets in one polling POST; 0 means that only `max_payload` limits them."""
    outbox_bytes_link: Annotated[Size, Meta(ge=1024**2, le=64 * GIB)] = 64 * 1024 * 1024
    """Bytes queued for one link above which it is closed as `link-slow`."""


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pages of other origins: which may connect, and which may send their visitors' cookies."""

    allow_origins: Origins = ("*",)
    """Origins such as `https://example.org`, patterns such as `https://*.example.org`, or `null`. `*` lets
    pages of every origin connect, but does not list them for `credentials`."""
    credentials: Literal["listed", "any"] = "listed"
    """Pages whose cookies reach the app: `listed` are those of the listed origins and of the service's own;
    `any` are those of all origins that may connect. `moorage dev` sets `any`."""
