"""Lists, rates and quotas on a real service: who is refused, who is closed, and that nobody else is."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.auth import AccessKeys, sign
from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients, fetch
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

OPEN = "?EIO=4&transport=polling"
HUBS: dict[str, dict[str, object]] = {
    "connects": {"connects_per_address": "2/h burst 3"},
    "users": {"connects_per_user": "1/h burst 2"},
    "client": {"messages_per_client": "1/h burst 5"},
    "user": {"messages_per_user": "1/h burst 5"},
    "address": {"messages_per_address": "1/h burst 5"},
    "small": {"max_connections": 2},
    "few": {"max_connections_per_user": 2},
}


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """One hub for each limit, behind a trusted proxy that names the client."""
    limits = [f"{hub}.{name}={value}" for hub, some in HUBS.items() for name, value in some.items()]
    flags = [f"--set=hubs.{limit}" for limit in limits]
    with MoorageProcess("--set=server.trusted_proxies=127.0.0.1", *flags) as running:
        yield running


def at(address: str) -> dict[str, str]:
    """The header with which the proxy names a client."""
    return {"X-Forwarded-For": address}


def token(service: MoorageProcess, hub: str, user: str) -> str:
    """A part of the query."""
    audience = f"{service.url}{clients(hub)[:-1]}"
    return "&access_token=" + sign(AccessKeys(service.key, None), audience, time.time(), 600.0, user=user)


async def asked(service: MoorageProcess, hub: str, query: str = "", address: str = "192.0.2.1") -> str:
    """A new polling session: "" or the name of the reason."""
    reply = await fetch(service.url, f"{clients(hub)}{OPEN}{query}", headers=at(address))
    return "" if reply.status == 200 else str(reply.json()["reason"])


async def test_connects_per_address(service: MoorageProcess) -> None:
    counter = 'moorage_refusals_total{door="client",reason="too-many-connects"}'
    before = service.metric(counter)
    async with AppServer(service, "connects"):
        answers = [await asked(service, "connects") for _ in range(4)]
        assert answers == ["", "", "", "too-many-connects"]
        reply = await WebSocket.refused(
            service.url, f"{clients('connects')}?EIO=4&transport=websocket", at("192.0.2.1")
        )
        assert (reply.status, reply.json()["number"]) == (429, 2122)
        assert await asked(service, "connects", address="192.0.2.2") == ""
        # The addresses of one IPv6 network are one client.
        answers = [await asked(service, "connects", address=f"2001:db8::{n}") for n in range(4)]
        assert answers == ["", "", "", "too-many-connects"]
    assert service.metric(counter) == before + 3


async def test_connects_per_user(service: MoorageProcess) -> None:
    async with AppServer(service, "users"):
        ada, bob = token(service, "users", "ada"), token(service, "users", "bob")
        assert [await asked(service, "users", ada) for _ in range(3)] == ["", "", "too-many-connects"]
        assert [await asked(service, "users", bob), await asked(service, "users")] == ["", ""]


@pytest.mark.parametrize("hub", ["client", "user", "address"])
async def test_a_client_that_sends_too_much_is_closed(service: MoorageProcess, hub: str) -> None:
    async with AppServer(service, hub):
        user = token(service, hub, "ada") if hub == "user" else ""
        other = token(service, hub, "bob") if hub == "user" else ""
        path = clients(hub)
        async with (
            await WebSocket.session(service.url, path, user, at("192.0.2.1")) as flooder,
            await WebSocket.session(service.url, path, other, at("192.0.2.2")) as bystander,
        ):
            for number in range(5):
                await flooder.send(f"42[{number}]")
                assert await flooder.text() == f"42[{number}]"
            await flooder.send("42[5]")
            ended = (await flooder.ended())[1]
            assert (ended.code, ended.reason) == (1008, "too-many-messages")
            await bystander.send("42[1]")
            assert await bystander.text() == "42[1]"
            if hub != "client":
                # Its next connection shares the bucket only while one of its own is open.
                async with await WebSocket.session(service.url, path, user, at("192.0.2.1")) as again:
                    await again.send("42[1]")
                    assert await again.text() == "42[1]"
    record = service.wait_record(event="disconnect", reason="too-many-messages", hub=hub)
    assert record["detail"] == f"hubs.NAME.messages_per_{hub}: 1/h burst 5"


async def test_two_clients_share_the_bucket_of_their_user(service: MoorageProcess) -> None:
    async with AppServer(service, "user"):
        ada = token(service, "user", "ada")
        async with (
            await WebSocket.session(service.url, clients("user"), ada) as first,
            await WebSocket.session(service.url, clients("user"), ada) as second,
        ):
            for number in range(4):
                await first.send(f"42[{number}]")
                await first.text()
            await second.send("42[4]")
            await second.text()
            await second.send("42[5]")
            assert (await second.ended())[1].reason == "too-many-messages"
            await first.send("42[6]")
            assert (await first.ended())[1].reason == "too-many-messages"


async def test_a_polling_client_that_sends_too_much(service: MoorageProcess) -> None:
    async with AppServer(service, "client"):
        client = await Polling(service.url, clients("client")).open()
        payload = "\x1e".join(f"42[{number}]" for number in range(6))
        reply = await client.post(payload)
        assert (reply.status, reply.json()["reason"]) == (429, "too-many-messages")


async def test_an_upgrade_does_not_fill_the_bucket(service: MoorageProcess) -> None:
    async with AppServer(service, "client"):
        client = await Polling(service.url, clients("client")).open()
        await client.post("\x1e".join(f"42[{number}]" for number in range(3)))
        target = f"{clients('client')}?EIO=4&transport=websocket&sid={client.sid}"
        async with await WebSocket.open(service.url, target) as socket:
            await socket.send("2probe")
            assert await socket.text() == "3probe"
            await socket.send("5")
            await socket.send("42[9]")
            assert (await socket.ended())[1].reason == "too-many-messages"


async def test_a_full_hub(service: MoorageProcess) -> None:
    async with AppServer(service, "small") as app:
        # The app server has not answered yet: these clients count, too.
        app.on_connect = lambda event: None
        waiting = [asyncio.ensure_future(asked(service, "small")) for _ in range(2)]
        await app.event("connect")
        await app.event("connect")
        assert await asked(service, "small") == "hub-full"
        for each in waiting:
            each.cancel()
        app.on_connect = app.accept
    async with AppServer(service, "small"):
        async with asyncio.timeout(10):
            while await asked(service, "small"):
                await asyncio.sleep(0.01)  # until the service has noticed that the two are gone


async def test_a_user_with_too_many_clients(service: MoorageProcess) -> None:
    async with AppServer(service, "few"):
        ada = token(service, "few", "ada")
        assert [await asked(service, "few", ada) for _ in range(3)] == ["", "", "user-full"]
        assert await asked(service, "few", token(service, "few", "bob")) == ""
        assert [await asked(service, "few") for _ in range(3)] == ["", "", ""]


async def test_lists_of_networks_change_with_a_reload(tmp_path: Path) -> None:
    config, key = tmp_path / "moorage.yaml", "k" * 32
    text = "keys: {primary: %s}\nserver: {port: 0, trusted_proxies: [127.0.0.1], %s}\n"
    config.write_text(text % (key, "deny: [192.0.2.0/24]"))
    with MoorageProcess("-c", str(config), command="serve", key=key) as service:
        async with AppServer(service, "main"):
            reply = await fetch(service.url, f"{clients('main')}{OPEN}", headers=at("192.0.2.7"))
            assert (reply.status, reply.json()["number"]) == (403, 2121)
            assert await asked(service, "main", address="198.51.100.7") == ""
            config.write_text(text % (key, "allow: [192.0.2.0/24]"))
            os.kill(service.pid, signal.SIGHUP)
            service.wait_record(event="reloaded")
            assert await asked(service, "main", address="192.0.2.7") == ""
            assert await asked(service, "main", address="198.51.100.7") == "address-refused"
            # Links, REST and metrics are not clients.
            assert service.get("/healthz")[0] == 200
