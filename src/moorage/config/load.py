"""Loads the configuration: flags over environment over file over defaults. All problems are reported at once.
`load` is the entry point. `config.model` defines the settings, `config.schema` lists them with their
rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from moorage.config import check
from moorage.config.files import parse_text, read_text
from moorage.config.model import DEFAULT_PATTERN, Config, ConfigError
from moorage.config.rules import ItemError, expected, parse
from moorage.config.schema import ANY_HUB, SETTINGS, find
from moorage.config.sources import BODY, Given, Layer, from_env, from_flags, from_tree, merge
from moorage.edge.settings import TlsSettings
from moorage.hub.settings import HubSettings

_RELOADABLE: Final = re.compile(r"(?:keys|hubs|allow_unlisted_hubs|server\.(?:tls|allow|deny))(?:\..+)?")
_ADMIN_KEYS: Final = ("admin.read_key", "admin.operate_key", "admin.read_key_file", "admin.operate_key_file")
_KEYS: Final = ("keys.primary", "keys.secondary", "admin.read_key", "admin.operate_key")
"""Settings whose value may stand in a file of its own."""


class Resolved(NamedTuple):
    """A configuration and, for each path that was set, the source of its value."""

    config: Config
    sources: dict[str, str]


class Changes(NamedTuple):
    """Paths that differ between two configurations, by whether a reload can apply them."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


def load(
    path: Path | str | None,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    base: Mapping[str, object] | None = None,
    serving: bool = False,
) -> Config:
    """Read and check the configuration. `overrides` are flags, `base` replaces defaults for one command; both
    by dotted path (`{"server.port": 0}`). With `serving`, settings that only a running service needs (a key)
    are required. Raises `ConfigError` with every problem."""
    return resolve(path, env, overrides, base=base, serving=serving).config


def resolve(
    path: Path | str | None,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    base: Mapping[str, object] | None = None,
    serving: bool = False,
) -> Resolved:
    """`load`, with the sources."""
    file = _file_layer(path, env)
    layers = [from_flags(base or {}, "default"), file, from_env(env), from_flags(overrides or {})]
    merged = merge(layers)
    draft = _Draft(merged.problems)
    for name, given in merged.given.items():
        draft.read(name, given)
    draft.read_key_files()
    config = draft.build()
    # If a file cannot be read, the key may be in it, so it is not reported as missing.
    for name, text in check.problems(config, serving=serving and not file.unreadable):
        draft.refuse(name, text)
    if draft.problems:
        raise ConfigError(draft.problems)
    config = msgspec.structs.replace(config, warnings=tuple(check.warnings(config, serving=serving)))
    return Resolved(config, {name: given.source for name, given in merged.given.items()})


def changes(old: Config, new: Config) -> Changes:
    """Compare two configurations for a reload, which can apply only some settings. Keys of the Admin API
    are applied if it has been on since the start, because only then the node has kept its lists."""
    before, after = flatten(old), flatten(new)
    paths = [path for path in {**before, **after} if _value(before, path) != _value(after, path)]
    admin, fixed = old.admin.enabled, _tls(old.server.tls, new.server.tls) is not new.server.tls
    applied = tuple(
        path
        for path in paths
        if (_RELOADABLE.fullmatch(path) and not (fixed and path.startswith("server.tls.")))
        or (admin and path in _ADMIN_KEYS)
    )
    return Changes(applied, tuple(path for path in paths if path not in applied))


def _value(flat: Mapping[str, object], path: str) -> object:
    """A setting's value. A hub that is not listed has the defaults."""
    row = find(path)
    return flat.get(path, row.default if row is not None else None)


def reloaded(old: Config, new: Config) -> Config:
    """`old` with what a reload can apply taken from `new`."""
    admin = old.admin
    if admin.enabled:
        own = {path.partition(".")[2]: getattr(new.admin, path.partition(".")[2]) for path in _ADMIN_KEYS}
        admin = msgspec.structs.replace(admin, **own)
    return msgspec.structs.replace(
        old,
        keys=new.keys,
        hubs=new.hubs,
        allow_unlisted_hubs=new.allow_unlisted_hubs,
        admin=admin,
        server=msgspec.structs.replace(
            old.server,
            tls=_tls(old.server.tls, new.server.tls),
            allow=new.server.allow,
            deny=new.server.deny,
        ),
        warnings=new.warnings,
    )


def _tls(old: TlsSettings, new: TlsSettings) -> TlsSettings:
    """The port either has TLS or has not, until a restart."""
    return new if bool(old.cert_file) == bool(new.cert_file) else old


def flatten(config: Config) -> dict[str, object]:
    """Every setting's value by its path, listed hubs included."""
    flat: dict[str, object] = {}
    for path in SETTINGS:
        if path.startswith(ANY_HUB):
            continue
        value: object = config
        for part in path.split("."):
            value = getattr(value, part)
        flat[path] = value
    for name, hub in config.hubs.items():
        flat.update({f"hubs.{name}.{field}": getattr(hub, field) for field in hub.__struct_fields__})
    return flat


def _file_layer(path: Path | str | None, env: Mapping[str, str]) -> Layer:
    body = env.get(BODY, "")
    try:
        if path is None:
            return from_tree(parse_text(body, "", BODY) if body else {}, BODY)
        if body:
            raise ConfigError([f"{BODY}: a configuration file is given too ({path}); use one of them"])
        path = Path(path)
        layer = from_tree(parse_text(read_text(path), path.suffix, str(path)), str(path))
    except ConfigError as error:
        # Environment and flags are still read, so that one start reports all problems.
        return Layer({}, list(error.problems), unreadable=True)
    for name, given in layer.given.items():
        setting = find(name)
        is_path = setting is not None and setting.rule.kind == "path"
        if is_path and isinstance(given.value, str) and given.value:
            # A path in a file is relative to that file; in flags and environment, to the working directory.
            layer.given[name] = given._replace(value=str(path.parent / given.value))
    return layer


class _Draft:
    """The values read so far, and the problems found in them."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        self.values: dict[str, Any] = {}
        self.bad: set[str] = set()

    def refuse(self, path: str, text: str) -> None:
        # One problem for each path: a key that cannot be read is not reported as missing as well.
        if path not in self.bad:
            self.bad.add(path)
            self.problems.append(f"{path}: {text}")

    def read(self, path: str, given: Given) -> None:
        setting = find(path)
        if setting is None:  # a hub that is merely listed
            self.values[path] = None
            return
        try:
            self.values[path] = parse(setting.rule, given.value)
        except ItemError as error:
            shown = f"{_shorten(error.item)}{error.hint}"
            self.refuse(path, f"expected {expected(setting.rule)}, found {shown} ({given.source})")
        except (ValueError, RecursionError):
            hidden = setting.rule.kind == "secret"
            shown = "" if hidden else f", found {_shorten(given.value)}"
            self.refuse(path, f"expected {expected(setting.rule)}{shown} ({given.source})")

    def read_key_files(self) -> None:
        for path in _KEYS:
            file = self.values.get(f"{path}_file")
            if not file:
                continue
            try:
                self.values[path] = read_text(Path(file)).strip()
            except ConfigError as error:
                self.refuse(f"{path}_file", error.problems[0])
                self.bad.add(path)
                continue
            if not self.values[path]:
                self.refuse(f"{path}_file", f"{file}: no key in it")
                self.bad.add(path)

    def build(self) -> Config:
        own = {path: value for path, value in self.values.items() if not path.startswith("hubs.")}
        made: Config = _struct(Config, "", own)
        return msgspec.structs.replace(made, hubs=self._hubs())

    def _hubs(self) -> dict[str, HubSettings]:
        given: dict[str, dict[str, Any]] = {}
        for path, value in self.values.items():
            if path.startswith("hubs."):
                name, _, field = path[len("hubs.") :].rpartition(".")
                given.setdefault(name, {}).update({field: value} if field else {})
        # A hub that is listed without settings follows the pattern: listing a hub must not open it.
        pattern = given.get(DEFAULT_PATTERN, {})
        return {name: HubSettings(**{**pattern, **fields}) for name, fields in given.items()}


def _struct(kind: type[Any], prefix: str, values: Mapping[str, Any]) -> Any:
    """A section, or a section in a section, from the `values` by path."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        path = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            given[field.name] = _struct(field.type, f"{path}.", values)
        elif path in values:
            given[field.name] = values[path]
    return kind(**given)


def _shorten(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
