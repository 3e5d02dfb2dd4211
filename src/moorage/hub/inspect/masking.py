"""Masks what may be a secret in what a client has sent with its first request. Apps put their own tokens into
queries and headers, so names are judged by their parts, not by a list of the usual ones alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MASK: Final = "********"

_SECRET: Final = re.compile(
    r"auth|token|secret|passw|pwd|cookie|session|jwt|credential|signature|api[-_]?key|access[-_]?key|^key$",
    re.IGNORECASE,
)
_HARMLESS: Final = frozenset({"sec-websocket-key"})
"""Not a secret, although its name looks like one of a secret. Operators compare it with proxies' logs."""


def masked_headers(headers: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The headers, with the values of secret ones masked."""
    return {name: _masked(name, values) for name, values in headers.items()}


def masked_query(query: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The query, likewise."""
    return {name: _masked(name, values) for name, values in query.items()}


def _masked(name: str, values: list[str]) -> list[str]:
    if name in _HARMLESS or not _SECRET.search(name):
        return values
    return [MASK] * len(values)
