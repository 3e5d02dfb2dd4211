"""Every setting by its dotted path, with its rule; built once from the settings structs."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec

from moorage.config.model import Config
from moorage.config.rules import Rule
from moorage.hub.settings import HubSettings

ANY_HUB: Final = "hubs.*"
"""Stands for `hubs.NAME` in the paths of this module."""

_DAY: Final = 86400
_GIB: Final = 1024**3

RULES: Final[dict[str, Rule]] = {
    "server.host": Rule("text"),
    "server.port": Rule("count", 0, 65535),
    "server.public_endpoint": Rule("endpoint"),
    "server.trusted_proxies": Rule("networks"),
    "server.backlog": Rule("count", 1, 65535),
    "server.header_timeout": Rule("seconds", 0.1, 3600),
    "server.max_header_bytes": Rule("size", 1024, 1024**2),
    "server.body_timeout": Rule("seconds", 0.1, 3600),
    "server.answer_timeout": Rule("seconds", 0.1, 3600),
    "server.keep_alive": Rule("seconds", 0, 3600),
    "server.upgrade_timeout": Rule("seconds", 0.1, 3600),
    "server.post_wait": Rule("seconds", 0, 60),
    "cors.allow_origins": Rule("origins"),
    "keys.primary": Rule("secret"),
    "keys.secondary": Rule("secret"),
    "keys.primary_file": Rule("path"),
    "keys.secondary_file": Rule("path"),
    "auth.clock_skew": Rule("seconds", 0, 3600),
    "auth.token_ttl": Rule("seconds", 1, 365 * _DAY),
    "limits.max_payload": Rule("size", 1024, _GIB),
    "limits.max_attachments": Rule("count", 0, 10_000),
    "limits.max_packets_per_payload": Rule("count", 0, 1_000_000),
    "limits.max_namespaces": Rule("count", 1, 10_000),
    "limits.max_groups": Rule("count", 1, 10_000_000),
    "limits.max_connections": Rule("count", 1, 100_000_000),
    "limits.outbox_bytes": Rule("size", 1024, 16 * _GIB),
    "limits.slow_after": Rule("seconds", 0.1, 3600),
    "limits.outbox_hard_bytes": Rule("size", 1024, 64 * _GIB),
    "limits.outbox_total_bytes": Rule("size", 1024**2, 1024 * _GIB),
    "limits.outbox_bytes_link": Rule("size", 1024**2, 64 * _GIB),
    "links.grace": Rule("seconds", 0, 3600),
    # The azure client library drops a link that is silent for 120 s.
    "links.keepalive": Rule("seconds", 1, 110),
    "links.heartbeat": Rule("seconds", 0.5, 60),
    "links.window": Rule("size", 64 * 1024, _GIB),
    "links.connect_timeout": Rule("seconds", 0.1, 600),
    "links.invoke_timeout": Rule("seconds", 0.1, _DAY),
    "links.max_frame": Rule("size", 64 * 1024, _GIB),
    "links.max_waiting_bytes": Rule("size", 0, 64 * _GIB),
    "links.max_links_per_server": Rule("count", 1, 10_000),
    "log.client_lines_per_second": Rule("count", 1, 1_000_000),
    "default_hub": Rule("hub"),
    "shutdown.grace": Rule("seconds", 0, _DAY),
    "shutdown.spread": Rule("seconds", 0, _DAY),
    "shutdown.timeout": Rule("seconds", 0.1, _DAY),
}
"""Units and ranges. Booleans and choices need none: their type says it all."""


class Setting(NamedTuple):
    """One setting: where it stands, what it may be, what it is unless set."""

    path: str
    rule: Rule
    default: object


def _rule(path: str, kind: Any) -> Rule:
    if path in RULES:
        return RULES[path]
    if get_origin(kind) is Literal:
        return Rule("choice", choices=get_args(kind))
    if kind is bool:
        return Rule("flag")
    # A part may grow a setting before it gets its range here; it is still read by its type.
    return Rule({int: "count", float: "seconds"}.get(kind, "text"))  # type: ignore[arg-type]


def _settings(prefix: str, struct: type[msgspec.Struct]) -> Iterable[Setting]:
    for field in msgspec.structs.fields(struct):
        path = f"{prefix}.{field.name}" if prefix else field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(path, field.type)
        elif path == "hubs":
            yield from _settings(ANY_HUB, HubSettings)
        elif path != "warnings":
            yield Setting(path, _rule(path, field.type), field.default)


SETTINGS: Final = types.MappingProxyType({row.path: row for row in _settings("", Config)})
SECTIONS: Final = tuple(dict.fromkeys(path.partition(".")[0] for path in SETTINGS if "." in path))


def find(path: str) -> Setting | None:
    """The setting that `path` names; `hubs.NAME.field` finds the row of any hub."""
    if path.startswith("hubs."):
        name, _, field = path[len("hubs.") :].rpartition(".")
        return SETTINGS.get(f"{ANY_HUB}.{field}") if name else None
    return SETTINGS.get(path)


def nearest(path: str, known: Iterable[str]) -> str | None:
    """The known name that `path` was probably meant to be."""
    names = list(known)
    close = difflib.get_close_matches(path, names, 1, 0.75)
    if close:
        return close[0]
    # Right key, wrong section (or none): compare last components.
    by_leaf: dict[str, str] = {}
    for name in names:
        by_leaf.setdefault(name.rpartition(".")[2], name)
    leaf = difflib.get_close_matches(path.rpartition(".")[2], list(by_leaf), 1, 0.75)
    return by_leaf[leaf[0]] if leaf else None


def unknown(path: str, source: str) -> str:
    """The problem line for a key that does not exist."""
    known = [*SETTINGS, *SECTIONS]
    if path.startswith("hubs."):
        name = path[len("hubs.") :].rpartition(".")[0]
        known = [row.replace(ANY_HUB, f"hubs.{name}", 1) for row in SETTINGS if row.startswith(ANY_HUB)]
    hint = nearest(path, known)
    return f"{path}: no such setting ({source})" + (f"; did you mean `{hint}`?" if hint else "")
