"""The header `Sec-WebSocket-Extensions`. A client makes offers in the order of its preference. The service
takes the first one with which it can share its frames among all clients: no context takeover, and the largest
window. It asks the client to keep no context either, so that an idle connection needs no memory for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

NAME: Final = "permessage-deflate"
ANSWER: Final = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
MAX_HEADER: Final = 1024
"""A longer header is not read. Browsers send 44 characters."""

_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = re.compile(r"8|9|1[0-5]")
_WINDOW: Final = "15"


def negotiate(header: str) -> str:
    """The answer to a client's offers; "" if none of them fits. Raises nothing: a broken header gets no
    extension."""
    if NAME not in header or len(header) > MAX_HEADER:
        return ""
    for name, given in _offers(header):
        if name == NAME:
            answer = _answer(given)
            if answer:
                return answer
    return ""


def _offers(header: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    for offer in header.split(","):
        name, *given = (part.strip(" \t") for part in offer.split(";"))
        pairs = [part.partition("=") for part in given]
        yield name, [(key.rstrip(), value.strip(' \t"') if equals else None) for key, equals, value in pairs]


def _answer(given: list[tuple[str, str | None]]) -> str:
    """The answer to one offer; "" if it is declined. RFC 7692, 7.1: an unknown, repeated or invalid parameter
    declines it."""
    answer = ANSWER
    if len({key for key, _ in given}) < len(given):
        return ""
    for key, value in given:
        if key in _FLAGS:
            valid = value is None
        elif key == "client_max_window_bits":
            # A hint that the client can take a limit. The service sets none.
            valid = value is None or _BITS.fullmatch(value) is not None
        else:
            # A smaller window for the service would need frames of its own.
            valid = key == "server_max_window_bits" and value == _WINDOW
            answer += f"; server_max_window_bits={_WINDOW}"
        if not valid:
            return ""
    return answer
