from __future__ import annotations

import socket
import subprocess
import sys

from tests.scenarios.network import Network

SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), ('{}', {}))"


def test_nothing_comes_from_a_machine_that_is_cut_off() -> None:
    with Network() as network, socket.socket(type=socket.SOCK_DGRAM) as gate:
        gate.bind((network.gate, 0))
        gate.settimeout(60)
        network.add("one")
        program = SEND.format(*gate.getsockname())

        def send(text: str) -> None:
            subprocess.run([*network.inside("one"), sys.executable, "-c", program, text], check=True)

        # The first one finds the way, so that the second one does not wait for an answer.
        send("before")
        network.cut("one")
        send("meanwhile")
        network.mend("one")
        send("after")
        assert [gate.recv(100) for _ in range(2)] == [b"before", b"after"]
