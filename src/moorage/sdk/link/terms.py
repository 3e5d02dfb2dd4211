"""The app server's limit for messages of clients, compared with the service's limit."""

from __future__ import annotations

import logging
from typing import Any, Final

from moorage.wire.moorage.v1 import ServiceHello

_NO_LIMIT: Final = 2**53 - 1
"""The largest number of the link protocol."""

_log: Final = logging.getLogger("moorage.sdk")


def max_message(engine: Any) -> int:
    """Bytes of one message, as the link carries them: natively `max_http_buffer_size` may be infinite."""
    return int(min(engine.max_http_buffer_size, _NO_LIMIT))


def warn_of_large_messages(engine: Any, hello: ServiceHello) -> None:
    """Log a warning if the app server wants larger messages than the service takes from a client."""
    wanted = max_message(engine)
    if 0 < hello.max_payload < wanted:
        _log.warning(
            "max_http_buffer_size is %d, but the service takes at most %d bytes in one message of a client "
            "(its setting limits.max_payload), and ends clients that send more",
            wanted,
            hello.max_payload,
        )
