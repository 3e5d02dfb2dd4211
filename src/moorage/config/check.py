"""Checks that concern several settings, or keys and hubs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from moorage.config.model import DEFAULT_PATTERN, Config
from moorage.config.reach import about_addresses, is_public, is_public_endpoint
from moorage.control.admin.settings import LEAST_KEY
from moorage.edge.tcp import tls

WEAK_KEY: Final = 16
"""Minimum characters of a strong key. A shorter key can be guessed offline from a single token."""

# A connection string consists of `Name=value;` pairs, often in quotes in a shell or an env file.
_BAD_KEY: Final = re.compile(r"""[^!-~]|[;"'\\]""")

HOW_TO_GET_A_KEY: Final = (
    "no access key: `moorage config init` writes a file with fresh ones; or set keys.primary, "
    "keys.primary_file, MOORAGE_KEYS_PRIMARY or MOORAGE_KEYS_PRIMARY_FILE "
    "(make a key with `openssl rand -base64 32`)"
)


def problems(config: Config, *, serving: bool) -> Iterator[tuple[str, str]]:
    """Errors, as (path, text). With `serving`, also missing settings that a running service needs."""
    keys = config.keys
    if serving and not keys.primary:
        yield "keys.primary", HOW_TO_GET_A_KEY
    if keys.secondary and not keys.primary:
        yield "keys.secondary", "a secondary key needs a primary one"
    for path, key in (("keys.primary", keys.primary), ("keys.secondary", keys.secondary)):
        if _BAD_KEY.search(key):
            yield path, "a key is printable ASCII without spaces, semicolons, quotes and backslashes"
    yield from _about_admin_keys(config)
    if not config.server.host:
        yield "server.host", "expected an address or a host name (0.0.0.0 for all addresses)"
    if config.server.proxy_protocol and not config.server.trusted_proxies:
        yield "server.proxy_protocol", "needs the addresses of the proxies (server.trusted_proxies)"
    if serving:
        # Other commands may run as a user who cannot read the key.
        yield from tls.problems(config.server.tls)
    if not config.cluster.name:
        yield "cluster.name", "expected a name"
    if config.cluster.nats_key and not config.cluster.nats_cert:
        yield "cluster.nats_key", "a key needs its certificate (cluster.nats_cert)"
    if config.cluster.nats_nkey and config.cluster.nats_credentials:
        yield "cluster.nats_nkey", "cluster.nats_credentials is set too; use one of them"
    yield from _about_recovery(config)
    if not config.allow_unlisted_hubs and config.default_hub not in config.hubs:
        yield "default_hub", f"`{config.default_hub}` is not listed in hubs, and allow_unlisted_hubs is false"


def _about_recovery(config: Config) -> Iterator[tuple[str, str]]:
    recovery, nats = config.recovery, config.cluster.nats_url
    if recovery.store == "jetstream" and not nats and config.workers == 1:
        yield (
            "recovery.store",
            "jetstream needs the NATS servers of a cluster (cluster.nats_url)",
        )
    if recovery.store == "file" and (nats or config.workers != 1):
        yield (
            "recovery.store",
            "file is for a node that is alone; otherwise use jetstream",
        )
    if recovery.store == "file" and not recovery.folder:
        yield "recovery.folder", "store: file needs a folder"


def _about_admin_keys(config: Config) -> Iterator[tuple[str, str]]:
    admin, keys = config.admin, config.keys
    taken = {keys.primary: "keys.primary", keys.secondary: "keys.secondary"}
    for path, key in (("admin.read_key", admin.read_key), ("admin.operate_key", admin.operate_key)):
        if not key:
            continue
        if _BAD_KEY.search(key):
            yield path, "a key is printable ASCII without spaces, semicolons, quotes and backslashes"
        elif len(key) < LEAST_KEY:
            yield path, f"only {len(key)} characters, expected {LEAST_KEY} or more (openssl rand -base64 32)"
        elif key in taken:
            yield path, f"the same as {taken[key]}; each key needs a value of its own"
        taken[key] = path


def warnings(config: Config, *, serving: bool = False) -> Iterator[str]:
    """Warnings to show at the start. With `serving`, also those that concern only a running service."""
    keys = config.keys
    for path, key in (("keys.primary", keys.primary), ("keys.secondary", keys.secondary)):
        if 0 < len(key) < WEAK_KEY:
            yield f"{path}: only {len(key)} characters; {WEAK_KEY} or more keep tokens from being forged"
    if keys.primary and keys.primary == keys.secondary:
        yield "keys.secondary: the same as keys.primary, so a rotation has nothing to rotate to"
    yield from _about_access(config)
    yield from _about_cookies(config, serving=serving)
    yield from about_addresses(config)
    if serving:
        yield from tls.warnings(config.server.tls)
    compression = config.server.compression
    if compression.enabled and compression.threshold > compression.max_size:
        yield "server.compression.threshold: above max_size, so nothing is compressed"
    limits = config.limits
    if limits.outbox_hard_bytes < limits.outbox_bytes:
        yield "limits.outbox_hard_bytes: below limits.outbox_bytes, so no client is given limits.slow_after"
    if limits.outbox_total_bytes < limits.outbox_hard_bytes:
        yield "limits.outbox_total_bytes: below limits.outbox_hard_bytes, which no client can reach then"
    if limits.outbox_bytes_link < limits.max_payload:
        yield "limits.outbox_bytes_link: below limits.max_payload, so one large message can end a link"
    stop = config.shutdown
    if stop.lb_wait + stop.spread > stop.timeout:
        yield "shutdown.timeout: shorter than lb_wait + spread, so clients are closed faster"


def _about_access(config: Config) -> Iterator[str]:
    open_hubs = ", ".join(_anonymous_hubs(config))
    if not open_hubs or not is_public(config):
        return
    server = config.server
    where = f"server.host: {server.host}"
    if is_public_endpoint(server.public_endpoint):
        where = f"server.public_endpoint: {server.public_endpoint}"
    yield (
        f"{where} can be reached from other machines, and clients need no access token for {open_hubs} "
        "(hubs.default.anonymous: false asks for one everywhere, hubs.NAME.anonymous: false in one hub)"
    )


def _about_cookies(config: Config, *, serving: bool) -> Iterator[str]:
    cors = config.cors
    if "null" in cors.allow_origins:
        yield (
            "cors.allow_origins: any page can give itself the origin null (in a sandboxed frame), "
            "so the app sees its visitors' cookies on connections of any page"
        )
    if "*" not in cors.allow_origins:
        return
    if cors.credentials == "any":
        if is_public(config):
            yield (
                "cors.credentials: any page on the internet can connect in its visitors' names: the app sees "
                "their cookies (cors.credentials: listed withholds them from pages that cors.allow_origins "
                "does not list)"
            )
    elif serving and cors.allow_origins == ("*",):
        yield (
            "cors.allow_origins: no origin is listed, so pages of other origins connect without their "
            "cookies; if your app needs cookies, list the origins of its pages (such as https://app.example.org)"
        )


def _anonymous_hubs(config: Config) -> Iterable[str]:
    if config.allow_unlisted_hubs:
        pattern = config.hubs.get(DEFAULT_PATTERN)
        if pattern is None or pattern.anonymous:
            yield "hubs that are not listed"
    for name, hub in config.hubs.items():
        if hub.anonymous and name != DEFAULT_PATTERN:
            yield f"hub {name}"
