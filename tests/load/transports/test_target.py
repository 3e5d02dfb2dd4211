"""The server's address, and what handshakes carry."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from moorage.load.plan import Plan
from moorage.load.transports.target import reset_on_close, resolve
from tests.load.servers import Server


async def test_a_name_with_two_addresses_leads_to_the_one_that_answers(server: Server) -> None:
    target = await resolve(Plan(scenario="idle", url=f"http://localhost:{server.port}"))
    with closing(await target.connect()) as connected:
        assert connected.getpeername()[1] == server.port


async def test_queries_have_the_clients_number() -> None:
    plan = Plan(scenario="idle", url="http://127.0.0.1", path="/x/", query={"user": "u{n}"})
    target = await resolve(plan)
    assert target.query(7, transport="polling") == "/x/?user=u7&EIO=4&transport=polling"
    assert (target.host, target.name, target.ssl) == ("127.0.0.1", "127.0.0.1", None)


async def test_local_addresses_take_turns(server: Server) -> None:
    addresses = ("127.0.0.2", "127.0.0.3")
    target = await resolve(Plan(scenario="idle", url=server.url, local_addresses=addresses))
    made = [await target.connect() for _ in range(3)]
    assert [one.getsockname()[0] for one in made] == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]
    for one in made:
        one.close()


async def test_a_refused_connection_leaves_no_socket() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        target = await resolve(Plan(scenario="idle", url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
        with pytest.raises(ConnectionRefusedError):
            await target.connect()


def test_a_reset() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        reset_on_close(client)
        client.close()
        with closing(other), pytest.raises(ConnectionResetError):
            other.recv(1)
