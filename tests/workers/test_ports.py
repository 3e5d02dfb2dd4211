"""Reserved ports."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from moorage.wire.errors import UsageError
from moorage.workers.ports import Ports, advertised
from tests.support.programs import free_port


def listener(port: int, host: str = "127.0.0.1", option: int = socket.SO_REUSEPORT) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        made.bind((host, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_workers_can_listen_on_reserved_ports_and_nobody_else() -> None:
    with closing(Ports("127.0.0.1", 0, 0, 2)) as ports:
        assert len({ports.shared, *ports.own}) == 3
        with listener(ports.shared) as one, listener(ports.shared), listener(ports.own[1]):
            # A reserved socket gets no connections: a listener does.
            for _ in range(8):
                with socket.create_connection(("127.0.0.1", ports.shared), 1):
                    pass
            assert one.getsockname()[1] == ports.shared
        with pytest.raises(OSError, match="in use"):
            listener(ports.shared, option=socket.SO_REUSEADDR)
    listener(ports.shared, option=socket.SO_REUSEADDR).close()


def test_own_ports_follow_the_first() -> None:
    first = free_port()
    with closing(Ports("127.0.0.1", 0, first, 1)) as ports:
        assert ports.own == (first,)


@pytest.mark.parametrize("option", [socket.SO_REUSEPORT, socket.SO_REUSEADDR])
def test_a_port_of_another_service_is_refused(option: int) -> None:
    with listener(0, option=option) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen on 127.0.0.1:{port}: another program uses"):
            Ports("127.0.0.1", port, 0, 2)
        with pytest.raises(UsageError, match="another program uses"):
            Ports("127.0.0.1", 0, port, 1)


def test_a_port_that_another_supervisor_has_reserved_is_refused() -> None:
    with (
        closing(Ports("127.0.0.1", 0, 0, 1)) as ports,
        pytest.raises(UsageError, match="another program uses"),
    ):
        Ports("127.0.0.1", ports.shared, 0, 1)


def test_a_port_with_old_connections_of_an_ended_program_is_free() -> None:
    # The side that closes first keeps the port in TIME-WAIT for a minute.
    with listener(0, option=socket.SO_REUSEADDR) as ended:
        port = ended.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            ended.accept()[0].close()
            assert client.recv(1) == b""
    with closing(Ports("127.0.0.1", port, 0, 1)) as ports:
        assert ports.shared == port


def test_a_name_with_several_addresses_has_one_port() -> None:
    with closing(Ports("localhost", 0, 0, 1)) as ports:
        for family, *_, address in socket.getaddrinfo("localhost", ports.shared, type=socket.SOCK_STREAM):
            with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
                other.bind(address)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0"):
        Ports("192.0.2.1", 0, 0, 1)


@pytest.mark.parametrize(
    ("host", "configured", "url"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:7"),
        ("::1", "", "http://[::1]:7"),
        ("localhost", "https://node.example.org", "https://node.example.org:7"),
        ("0.0.0.0", "http://10.0.0.1:8080", "http://10.0.0.1:7"),
    ],
)
def test_the_advertised_url_has_the_own_port(host: str, configured: str, url: str) -> None:
    assert advertised(host, 7, configured) == url


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_listener_on_all_addresses_advertises_one(host: str) -> None:
    url = advertised(host, 7, "")
    assert url.endswith(":7") and "0.0.0.0" not in url and "[::]" not in url
