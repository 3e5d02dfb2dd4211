"""Parses configuration text into nested mappings: TOML or JSON by the file's suffix, otherwise YAML. Parser
messages that quote the text are not passed on, because the line may contain a key."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from moorage.config.model import ConfigError

MAX_BYTES: Final = 1024 * 1024
"""Larger files are refused: the path is probably wrong. Ten thousand networks in `server.deny` are 200 KB."""
MAX_DEPTH: Final = 16
"""Most levels of settings inside each other. There are four, and a parser takes seconds for very many."""


_NOT_A_FILE: Final = (
    "a pipe or a device, which cannot be read again at a reload; write a file, or give the text of the whole "
    "configuration in MOORAGE_CONFIG, a key in MOORAGE_KEYS_PRIMARY"
)


def read_text(path: Path) -> str:
    """The file's text. Raises `ConfigError` if it cannot be read."""
    try:
        # Without O_NONBLOCK the open call would wait for the writer of a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ConfigError([f"{path}: {_NOT_A_FILE}"])
            body = file.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ConfigError([f"{path}: too large (more than {MAX_BYTES} bytes)"])
        return body.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 (byte {error.start})"]) from None


def parse_text(text: str, suffix: str, source: str) -> dict[Any, Any]:
    """`suffix` is `.toml`, `.json` or anything else for YAML. Raises `ConfigError`."""
    parse = {".toml": _toml, ".json": _json}.get(suffix.lower(), _yaml)
    try:
        tree = parse(text)
    except _SyntaxError as error:
        raise ConfigError([f"{source}: {error}"]) from None
    except RecursionError:
        raise ConfigError([f"{source}: nested too deeply"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{source}: expected settings by name, found {type(tree).__name__}"])
    return tree


class _SyntaxError(Exception):
    """An error in the text. The message does not quote the text."""


def _toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = str(error).rpartition("(at ")[2].rstrip(")")
        raise _SyntaxError(f"not valid TOML, at {where}") from None


def _json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise _SyntaxError(f"not valid JSON, at line {error.lineno} column {error.colno}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _SyntaxError(f"`{key}` is set twice")
        found[key] = value
    return found


def _yaml(text: str) -> object:
    import yaml  # noqa: PLC0415 - takes 36 ms, which a process configured by its environment need not spend

    class Loader(yaml.SafeLoader):
        """Refuses duplicate keys. PyYAML silently takes the last of two, so a pasted section would be
        lost. Also refuses deep nesting, before it has read all of it."""

        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _SyntaxError("nested too deeply")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    line = key.start_mark.line + 1
                    raise _SyntaxError(f"`{key.value}` is set twice, at line {line}")
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        # Messages of these two name single characters. Others quote tags and aliases, and an access key
        # without quotes may have been read as one.
        known = isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError)
        what = f": {error.problem}" if known else ""
        raise _SyntaxError(f"not valid YAML{where}{what}") from None
    except yaml.YAMLError:
        raise _SyntaxError("not valid YAML: a character that may not be in it") from None
    except ValueError:
        # For example the date 2026-99-99, or an integer with thousands of digits.
        raise _SyntaxError("not valid YAML: a value that cannot be read") from None
