"""The `Host` header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_REQUEST

# RFC 9112, 3.2: host and port. Names are those of DNS and container networks; others are sent encoded.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")


def check_host(hosts: Sequence[str]) -> None:
    """Refuse a request unless it has at most one `Host` header that is a host with an optional port.
    HTTP/1.0 requests have none. Raises `PeerError` (bad-request)."""
    if hosts and (len(hosts) > 1 or _HOST.fullmatch(hosts[0]) is None):
        raise PeerError(BAD_REQUEST, "the Host header must be one host, with or without a port")
