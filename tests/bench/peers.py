"""The other ends of a fleet: a small server of our own on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bench.fleet import Fleet
from bench.frames import server_frame
from bench.servers import HOST, Address

CLIENTS = 3

Peers = list[socket.socket]


@contextmanager
def served(handle: Callable[[Peers], None]) -> Iterator[Fleet]:
    """A fleet without handshake, connected to a thread that runs `handle` on the other ends."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            peers = [listener.accept()[0] for _ in range(CLIENTS)]
            try:
                # A fleet leaves with a reset.
                with suppress(ConnectionResetError):
                    handle(peers)
            finally:
                for peer in peers:
                    peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with Fleet(Address(listener.getsockname()[1], "")) as fleet:
                fleet.open(CLIENTS)
                yield fleet
        finally:
            thread.join(10)


def until_closed(peers: Peers) -> None:
    for peer in peers:
        try:
            while peer.recv(4096):
                pass
        except ConnectionResetError:
            continue


def echoes(peer: socket.socket, *, cut: int = 0) -> None:
    """Answer one client's echoes of 5 bytes until it leaves, each in two writes where `cut` says so."""
    ident = 10
    # An ask is 2 + 4 bytes of head and mask and the packet.
    while len(peer.recv(6 + len(b'4210["echo","xxxxx"]'), socket.MSG_WAITALL)) > 0:
        answer = server_frame(b'43%d["xxxxx"]' % ident)
        if cut:
            peer.sendall(answer[:cut])
        peer.sendall(answer[cut:])
        ident = 10 + (ident - 9) % 10
