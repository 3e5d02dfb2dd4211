"""Does a peer read? What it has not confirmed of the bytes written to its TCP connection."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import Final

TRANSPORT: Final = "moorage.transport"
"""The extension of an HTTP request's scope that is the TCP connection it came by."""

_INT: Final = struct.Struct("i")


def unconfirmed(transport: asyncio.Transport) -> int:
    """Bytes in our own buffer, and in the kernel's. The kernel takes megabytes for a peer that reads
    slowly, and asks for more only when a third of them is gone: our own buffer alone may stand still
    for longer than a verdict should wait."""
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
