"""How many bytes written to a TCP connection its peer has not confirmed. Shows whether a peer reads."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import Final

TRANSPORT: Final = "moorage.transport"
"""The key in the `extensions` of an HTTP request's scope for its TCP connection."""

_INT: Final = struct.Struct("i")


def unconfirmed(transport: asyncio.WriteTransport) -> int:
    """Bytes in our own buffer and in the kernel's. The kernel takes megabytes for a slow peer, and takes more
    only when a third of them is gone. So our own buffer alone may not change for a long time."""
    size = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket")
    if socket is not None:
        try:
            answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
        except (OSError, ValueError):
            # The connection is closed already.
            return size
        size += _INT.unpack(answer)[0]
    return size
