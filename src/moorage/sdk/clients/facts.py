"""The data of a socket that only its app server has: its session and `auth`. A session may hold values that
JSON cannot express. They are left out and named, so that the rest still arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from moorage.wire.moorage.v1 import Chunk

_STRICT: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_DEEPEST: Final = 100
_TOGETHER: Final = 64
"""Sockets in one chunk. A chunk is decoded as a whole when one of them is looked at."""


def facts_json(session: Any, auth: Any) -> bytes:
    """JSON `{"data":…,"auth":…}`, and `left_out` (path -> problem) where there was something; empty
    where there is nothing to tell."""
    facts = {}
    if session:
        facts["data"] = session
    if auth is not None:
        facts["auth"] = auth
    if not facts:
        return b""
    try:
        return orjson.dumps(facts, None, _STRICT)
    except TypeError:
        left_out: dict[str, str] = {}
        kept = {name: _kept(value, name, left_out, ()) for name, value in facts.items()}
        return orjson.dumps({**kept, "left_out": left_out}, None, _STRICT)


def kept_json(value: Any, name: str) -> tuple[bytes, dict[str, str]]:
    """JSON of `value`, and what was left out (path -> problem)."""
    try:
        return orjson.dumps(value, None, _STRICT), {}
    except TypeError:
        left_out: dict[str, str] = {}
        return orjson.dumps(_kept(value, name, left_out, ()), None, _STRICT), left_out


def _kept(value: Any, path: str, left_out: dict[str, str], above: tuple[int, ...]) -> Any:
    """`value` without what JSON cannot express. `above`: ids of the values that contain it."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        # Most readers cannot represent more than 64 bits exactly.
        return value if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, (dict, list, tuple)):
        if len(above) >= _DEEPEST or id(value) in above:
            left_out[path] = "it contains itself" if id(value) in above else "nested too deeply"
            return None
        above = (*above, id(value))
    if isinstance(value, dict):
        kept = {}
        # A copy, since a handler in another thread may change the session meanwhile.
        for key, item in tuple(value.items()):
            name = key if isinstance(key, str) else str(key)
            inner = _kept(item, f"{path}.{name}", left_out, above)
            if inner is not None or item is None:
                kept[name] = inner
        return kept
    if isinstance(value, (list, tuple)):
        return [_kept(item, f"{path}[{index}]", left_out, above) for index, item in enumerate(value)]
    left_out[path] = f"{type(value).__name__} is not JSON serialisable"
    return None


def chunks_of(facts: Iterable[bytes]) -> Iterator[Chunk]:
    """The answer to a `Query`: what `facts_json` gave for each of its sockets."""
    left = iter(facts)
    while some := [each or b"{}" for each in islice(left, _TOGETHER)]:
        yield Chunk(len(some), b"[" + b",".join(some) + b"]")


class ToldFacts:
    """A chunk of another app server, decoded on first use."""

    __slots__ = ("_chunk", "_read")

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._read: list[Any] | None = None

    def each(self) -> Iterator[Callable[[], Any]]:
        """For each socket, what gives its facts; None for what is no JSON."""
        return (partial(self._at, index) for index in range(self._chunk.count))

    def _at(self, index: int) -> Any:
        if self._read is None:
            try:
                found = orjson.loads(self._chunk.facts)
            except orjson.JSONDecodeError:
                found = None
            self._read = found if isinstance(found, list) else []
        return self._read[index] if index < len(self._read) else None
