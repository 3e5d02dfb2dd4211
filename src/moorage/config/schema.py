"""Every setting by its dotted path, with the rule that its field declares."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec

from moorage.config.model import Config
from moorage.config.rules import Kind, Rule
from moorage.hub.settings import HubSettings

ANY_HUB: Final = "hubs.*"
"""The placeholder for `hubs.NAME` in the paths of this module."""

_KINDS: Final[dict[object, Kind]] = {bool: "flag", int: "count", float: "seconds"}
"""The kind of each type, unless the field's annotation names another kind."""


class Setting(NamedTuple):
    """One setting: its path, the rule for its value, and its default."""

    path: str
    rule: Rule
    default: object


def _rule(annotation: Any) -> Rule:
    """The rule that a field's annotation declares, such as `Annotated[Size, Meta(ge=1024, le=GIB)]`."""
    metas = [note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
    kind = annotation.__origin__ if metas else annotation
    if get_origin(kind) is Literal:
        return Rule("choice", choices=get_args(kind))
    rule = Rule(_KINDS.get(kind, "text"))
    for meta in metas:
        rule = Rule(
            (meta.extra or {}).get("kind", rule.kind),
            rule.low if meta.ge is None else meta.ge,
            rule.high if meta.le is None else meta.le,
        )
    return rule


def _settings(prefix: str, struct: type[msgspec.Struct]) -> Iterable[Setting]:
    for field in msgspec.structs.fields(struct):
        path = f"{prefix}.{field.name}" if prefix else field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(path, field.type)
        elif path == "hubs":
            yield from _settings(ANY_HUB, HubSettings)
        elif path != "warnings":
            yield Setting(path, _rule(field.type), field.default)


SETTINGS: Final = types.MappingProxyType({row.path: row for row in _settings("", Config)})
SECTIONS: Final = tuple(
    dict.fromkeys(
        ".".join(parts[:depth])
        for parts in (path.replace(ANY_HUB, "hubs").split(".") for path in SETTINGS)
        for depth in range(1, len(parts))
    )
)
"""Sections, and the sections in them, such as `server.tls`."""


RENAMED: Final = {"shutdown.grace": "shutdown.lb_wait"}
"""Settings that had another name once, which is still read."""


def find(path: str) -> Setting | None:
    """The setting that `path` names; `hubs.NAME.field` finds the row of any hub."""
    if path.startswith("hubs."):
        name, _, field = path[len("hubs.") :].rpartition(".")
        return SETTINGS.get(f"{ANY_HUB}.{field}") if name else None
    return SETTINGS.get(path)


def nearest(path: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `path`, if any is similar."""
    names = list(known)
    close = difflib.get_close_matches(path, names, 1, 0.75)
    if close:
        return close[0]
    # The right key in the wrong section or in none: compare the last components.
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
