"""Merges defaults, file, environment and flags into one assignment for each setting, with its source.
Problems are collected, so that one start reports them all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from moorage.config.model import DEFAULT_PATTERN
from moorage.config.rules import Rule, expected
from moorage.config.schema import ANY_HUB, RENAMED, SECTIONS, SETTINGS, find, nearest, unknown
from moorage.wire.azure.dataplane import HUB_NAME

PREFIX: Final = "MOORAGE_"
BODY: Final = "MOORAGE_CONFIG"
"""The variable that may contain the text of a whole configuration file."""

_HUBS: Final = "MOORAGE_HUBS"
_OTHERS: Final = frozenset(
    {BODY, "MOORAGE_ADMIN_KEY", "MOORAGE_ADMIN_URL", "MOORAGE_CONNECTION_STRING", "MOORAGE_RUN_DIR"}
)
"""Names that are not settings but are allowed: what commands and app servers read, which share a developer's
shell with the service, and what a supervisor sets for its workers."""

# Kubernetes sets such variables in every pod for a Service called `moorage` or `moorage-x`. Refusing them
# would keep the pod from starting, because of a name that nobody wrote.
_KUBERNETES: Final = re.compile(
    r"MOORAGE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_KUBERNETES_PORT: Final = re.compile(r"(?:tcp|udp|sctp)://")


class Given(NamedTuple):
    """The value that was written for a setting, and its source."""

    value: object
    source: str


class Layer(NamedTuple):
    """The assignments of one source by dotted path, and the problems found in it. A path `hubs.NAME.` (with
    nothing after the last dot, since names may hold dots) lists a hub."""

    given: dict[str, Given]
    problems: list[str]
    unreadable: bool = False
    """True if the source could not be read at all, so its settings are not known."""


def env_name(path: str) -> str:
    """`limits.max_payload` -> `MOORAGE_LIMITS_MAX_PAYLOAD`."""
    return PREFIX + path.replace(".", "_").upper()


def env_names() -> dict[str, str]:
    """The path of each setting by its environment variable."""
    paths = (path.replace(ANY_HUB, f"hubs.{DEFAULT_PATTERN}", 1) for path in SETTINGS)
    return {env_name(path): path for path in paths} | {env_name(old): new for old, new in RENAMED.items()}


def from_tree(tree: Mapping[Any, Any], source: str) -> Layer:
    """Read a file's content."""
    layer = Layer({}, [])
    for key, value in tree.items():
        if not isinstance(key, str):
            layer.problems.append(f"{key!r}: a setting's name must be text ({source})")
        elif key == "hubs":
            _read_hubs(value, source, layer)
        elif key in SECTIONS:
            _read_section(key, value, source, layer)
        elif key in SETTINGS:
            layer.given[key] = Given(value, source)
        else:
            layer.problems.append(unknown(key, source))
    return layer


def from_env(env: Mapping[str, str]) -> Layer:
    """Read the `MOORAGE_...` variables. Empty ones count as not set (compose files pass empty variables)."""
    layer = Layer({}, [])
    names = env_names()
    # Read the whole of `hubs` first, so that MOORAGE_HUBS_DEFAULT_... can override parts of it.
    if env.get(_HUBS):
        try:
            _read_hubs(json.loads(env[_HUBS]), _HUBS, layer)
        except (ValueError, RecursionError):
            layer.problems.append(f'{_HUBS}: expected JSON such as {{"chat": {{"anonymous": false}}}}')
    for name in sorted(env):
        value = env[name]
        if not name.startswith(PREFIX) or not value or name == _HUBS or name in _OTHERS:
            continue
        if name in names:
            layer.given[names[name]] = Given(value, name)
        elif not _is_kubernetes(name, value):
            hint = nearest(name, [*names, _HUBS, *_OTHERS])
            end = f"; did you mean `{hint}`?" if hint else ""
            layer.problems.append(f"{name}: no such setting (environment){end}")
    return layer


def from_flags(overrides: Mapping[str, object], source: str = "command line") -> Layer:
    """Read the assignments of flags and `--set`, by dotted path."""
    layer = Layer({}, [])
    for given, value in overrides.items():
        path = RENAMED.get(given, given)
        hub = path[len("hubs.") :].rpartition(".")[0] if path.startswith("hubs.") else None
        if find(path) is None:
            layer.problems.append(unknown(path, source))
        elif hub is not None and not HUB_NAME.fullmatch(hub):
            layer.problems.append(_bad_hub(hub, source))
        else:
            layer.given[path] = Given(value, source)
    return layer


def merge(layers: list[Layer]) -> Layer:
    """Merge the layers; later ones override earlier ones."""
    merged = Layer({}, [])
    for layer in layers:
        merged.problems.extend(layer.problems)
        for which in ("keys.primary", "keys.secondary"):
            pair = (which, f"{which}_file")
            both = [path for path in pair if path in layer.given]
            if len(both) == 2 and all(layer.given[path].value for path in both):
                source = layer.given[which].source
                merged.problems.append(f"{which}: give the key or {which}_file, not both ({source})")
            # A key of a later layer replaces a key file of an earlier one, and the other way round.
            for path in pair if both else ():
                merged.given.pop(path, None)
        merged.given.update(layer.given)
    return merged


def _read_section(section: str, value: object, source: str, layer: Layer) -> None:
    for key, item in _mapping(section, value, source, layer).items():
        path = f"{section}.{key}"
        path = RENAMED.get(path, path)
        if path in SECTIONS:
            _read_section(path, item, source, layer)
        elif path in SETTINGS:
            layer.given[path] = Given(item, source)
        else:
            layer.problems.append(unknown(path, source))


def _read_hubs(value: object, source: str, layer: Layer) -> None:
    for name, settings in _mapping("hubs", value, source, layer).items():
        if not isinstance(name, str) or not HUB_NAME.fullmatch(name):
            layer.problems.append(_bad_hub(name, source))
            continue
        layer.given[f"hubs.{name}."] = Given(None, source)
        for key, item in _mapping(f"hubs.{name}", settings, source, layer).items():
            path = f"hubs.{name}.{key}"
            if f"{ANY_HUB}.{key}" in SETTINGS:
                layer.given[path] = Given(item, source)
            else:
                layer.problems.append(unknown(path, source))


def _bad_hub(name: object, source: str) -> str:
    return f"hubs.{name}: expected {expected(Rule('hub'))} ({source})"


def _mapping(path: str, value: object, source: str, layer: Layer) -> Mapping[Any, Any]:
    # `limits:` with every line below it commented out is null in YAML: nothing is set.
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    layer.problems.append(f"{path}: expected settings by name below it ({source})")
    return {}


def _is_kubernetes(name: str, value: str) -> bool:
    if name.endswith("_PORT") and _KUBERNETES_PORT.match(value):
        return True
    return _KUBERNETES.fullmatch(name) is not None
