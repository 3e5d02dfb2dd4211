"""A fleet whose clients speak TLS, or take compressed frames."""

from __future__ import annotations

import select
import ssl
from typing import Final

from bench.errors import BenchError
from bench.fleet import CONNECTING, Client, Fleet
from bench.loads import PATIENCE
from bench.servers import HOST, Address

OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def trusting() -> ssl.SSLContext:
    """A context for clients that check no certificate: their CPU is not measured, but it is needed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class SecureFleet(Fleet):
    """Clients that make a whole TLS handshake each, without a ticket of an earlier one."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._context = trusting()

    def advance(self, client: Client) -> None:
        """One step, of the handshake too."""
        if client.state == CONNECTING:
            if not isinstance(client.socket, ssl.SSLSocket):
                # Raises an error of the TCP connection.
                client.socket.getpeername()
                client.socket = self._context.wrap_socket(
                    client.socket, do_handshake_on_connect=False, server_hostname=HOST
                )
                self._epoll.modify(client.socket, select.EPOLLIN)
            try:
                client.socket.do_handshake()
            except ssl.SSLWantReadError:
                return
        super().advance(client)

    def receive(self, client: Client) -> int:
        """Read one record. It may be one of TLS itself, with no bytes for us."""
        try:
            return super().receive(client)
        except BenchError as error:
            if isinstance(error.__cause__, ssl.SSLWantReadError):
                return 0
            raise


def wait_frames(fleet: Fleet, each: int) -> int:
    """Until every client has got `each` frames more, compressed or not. Returns the bytes of all of them."""
    left = {client: each for client in fleet.clients}
    total = 0
    for client in left:
        client.pending = b""
    while left:
        ready = fleet.ready(PATIENCE)
        if not ready:
            raise BenchError(f"{len(left)} clients did not get everything")
        for client in ready:
            count = fleet.receive(client)
            total += count
            client.pending += bytes(fleet.buffer[:count])
            while client in left and (size := _frame_size(client.pending)):
                client.pending = client.pending[size:]
                left[client] -= 1
                if not left[client]:
                    del left[client]
    return total


def _frame_size(data: bytes) -> int:
    """The size of the whole frame at the start of `data`; 0 if there is none yet."""
    if len(data) < 2:
        return 0
    size, head = data[1], 2
    if size > 125:
        head = 4 if size == 126 else 10
        size = int.from_bytes(data[2:head], "big")
    return head + size if len(data) >= head + size else 0
