"""Logging in to real NATS servers, in every way that they offer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.settings import ClusterSettings
from moorage.wire.errors import UsageError
from tests.cluster.nats import certificates
from tests.support.nats_server import NatsServer


class Nkey:
    """A key of the kinds that NATS knows: `U` (user), `A` (account), `O` (operator)."""

    def __init__(self, kind: str = "U") -> None:
        self._kind = {"U": 20, "A": 0, "O": 14}[kind] << 3
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        return _base32(bytes((self._kind,)) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        head = bytes((18 << 3 | self._kind >> 5, (self._kind & 31) << 3))
        return _base32(head + self._key.private_bytes_raw())

    def jwt(self, issuer: Nkey, name: str, nats: dict[str, Any]) -> str:
        """A claim about this key that another one signs."""
        claims = {"jti": name, "iat": 1, "iss": issuer.public, "sub": self.public, "name": name}
        words = [{"typ": "JWT", "alg": "ed25519-nkey"}, {**claims, "nats": {"version": 2, **nats}}]
        text = ".".join(_base64(json.dumps(word).encode()) for word in words)
        return f"{text}.{_base64(issuer._key.sign(text.encode()))}"


def _base32(data: bytes) -> str:
    data += binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data).rstrip(b"=").decode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Server:
    """A NATS server with a configuration, and the files beside it."""

    def __init__(self, folder: Path, config: str) -> None:
        (folder / "server.conf").write_text(config)
        self.folder = folder
        self.server = NatsServer("-c", str(folder / "server.conf"))

    async def try_login(self, scheme: str = "nats", user: str = "", **settings: Any) -> None:
        """Connect as the start of the service does. Raises `UsageError`."""
        url = f"{scheme}://{user}127.0.0.1:{self.server.port}"
        broker = NatsBroker(ClusterSettings(nats_url=(url,), **settings), "n0")
        await broker.connect()
        await broker.flush()
        broker.stop()
        await broker.closed()


Run = Callable[[str], Server]


def starter(folder: Path, request: pytest.FixtureRequest) -> Run:
    """Starts servers with a configuration, which end with the test."""

    def start(config: str) -> Server:
        made = Server(folder, config)
        made.server.start()
        request.addfinalizer(made.server.end)
        return made

    return start


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    return starter(tmp_path, request)


async def test_user_and_password(run: Run) -> None:
    server = run('authorization { user: "ann", password: "hidden/word" }')
    await server.try_login(user="ann:hidden%2Fword@")
    for user in ("", "ann:other@", "token@"):
        with pytest.raises(UsageError, match=r"cluster\.nats_url: .*Authorization Violation") as caught:
            await server.try_login(user=user)
        assert "other" not in str(caught.value)


def with_rights(permissions: str) -> str:
    """A configuration with a user of limited rights."""
    return f"authorization {{ users: [ {{ user: ann, password: x, permissions: {{ {permissions} }} }} ] }}"


@pytest.mark.parametrize(
    ("permissions", "why"),
    [
        ('subscribe: "other.>", publish: ">"', "Permissions Violation for Subscription to"),
        ('subscribe: ">", publish: "other.>"', "Permissions Violation for Publish to"),
    ],
)
def test_a_user_without_rights_to_the_subjects_of_the_cluster(run: Run, permissions: str, why: str) -> None:
    server = run(with_rights(permissions))
    for loop in (asyncio, uvloop):
        with pytest.raises(UsageError, match=rf'cluster\.nats_url: .*{why} "moorage\.'):
            loop.run(server.try_login(user="ann:x@"))


def test_a_user_with_rights_to_the_subjects_of_the_cluster_only(run: Run) -> None:
    server = run(with_rights('subscribe: "moorage.moorage.>", publish: "moorage.moorage.>"'))
    asyncio.run(server.try_login(user="ann:x@"))


@pytest.mark.parametrize("lost", ['subscribe: "other.>"', 'publish: "other.>"'])
async def test_rights_that_are_taken_away_and_given_back(run: Run, lost: str) -> None:
    every = 'subscribe: ">", publish: ">"'
    server = run(with_rights(every))
    url = f"nats://ann:x@127.0.0.1:{server.server.port}"
    broker = NatsBroker(ClusterSettings(nats_url=(url,)), "n0")
    await broker.connect()
    for rights, connected in ((lost, False), (every, True)):
        (server.folder / "server.conf").write_text(with_rights(rights))
        server.server.reload()
        async with asyncio.timeout(30):
            while broker.connected is not connected:
                broker.send_all(b"a heartbeat")
                await asyncio.sleep(0.02)
    broker.stop()
    await broker.closed()


async def test_a_server_that_takes_only_tiny_messages_is_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="its max_payload is 1023, and nodes need 1024 at least"):
        await run("max_payload: 1023").try_login()


async def test_a_name_that_is_no_name_of_a_host() -> None:
    for host in ("a..b", f"{64 * 'a'}.org"):
        broker = NatsBroker(ClusterSettings(nats_url=(f"nats://{host}",)), "n0")
        with pytest.raises(UsageError, match=rf"cluster\.nats_url: .*nats://{host}: no address: "):
            await broker.connect()


async def test_token(run: Run) -> None:
    server = run('authorization { token: "hidden" }')
    await server.try_login(user="hidden@")
    with pytest.raises(UsageError, match="Authorization Violation"):
        await server.try_login(user="wrong@")


async def test_nkey(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = Nkey()
    server = run(f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}")
    seed = server.folder / "node.nk"
    seed.write_text(f"# the node\n{key.seed}\n")
    await server.try_login(nats_nkey=str(seed))
    assert key.seed not in caplog.text
    seed.write_text(Nkey().seed)
    with pytest.raises(UsageError, match="Authorization Violation"):
        await server.try_login(nats_nkey=str(seed))


@pytest.mark.parametrize(
    "text",
    ["", "SU", "SUAAAA", Nkey("A").seed, Nkey().seed[:-1] + "!", "SU\u00e9"],
    ids=["empty", "short", "too short", "of an account", "damaged", "not ASCII"],
)
async def test_a_file_without_a_seed_is_refused_without_showing_it(run: Run, text: str) -> None:
    server = run("")
    seed = server.folder / "node.nk"
    seed.write_text(text)
    with pytest.raises(UsageError, match=r"cluster\.nats_nkey: (not the seed|not a text)") as caught:
        await server.try_login(nats_nkey=str(seed))
    assert len(text) < 10 or text not in str(caught.value)
    seed.unlink()
    with pytest.raises(UsageError, match=r"cluster\.nats_nkey: No such file"):
        await server.try_login(nats_nkey=str(seed))


def with_credentials(file: Path, limits: dict[str, int]) -> str:
    """A configuration with an account that has these limits, and the credentials file of a user of it."""
    operator, account, user, system = Nkey("O"), Nkey("A"), Nkey(), Nkey("A")
    limits = {"subs": -1, "conn": -1, "payload": -1, "data": -1, **limits}
    jwts = {
        account.public: account.jwt(operator, "account", {"type": "account", "limits": limits}),
        system.public: system.jwt(operator, "system", {"type": "account", "limits": {}}),
    }
    said = user.jwt(account, "node", {"type": "user", "subs": -1, "data": -1, "payload": -1})
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{said}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    known = ", ".join(f"{public}: {jwt}" for public, jwt in jwts.items())
    return (
        f"operator: {operator.jwt(operator, 'operator', {'type': 'operator'})}\n"
        f"system_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{ {known} }}\n"
    )


async def test_credentials(run: Run, tmp_path: Path) -> None:
    path, user = tmp_path / "node.creds", Nkey()
    server = run(with_credentials(path, {}))
    await server.try_login(nats_credentials=str(path))
    with pytest.raises(UsageError, match="Authorization Violation"):
        await server.try_login()
    path.write_text(user.seed)
    with pytest.raises(UsageError, match=r"cluster\.nats_credentials: not a credentials file"):
        await server.try_login(nats_credentials=str(path))


def with_tls(folder: Path, more: str = "") -> str:
    """A configuration with new certificates."""
    certificates.make(folder)
    files = f'cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", ca_file: "{folder}/ca.pem"'
    return f"tls {{ {files} {more} }}"


async def test_tls(run: Run, tmp_path: Path) -> None:
    server = run(with_tls(tmp_path))
    ca = str(tmp_path / "ca.pem")
    await server.try_login("tls", nats_ca=ca)
    await server.try_login("nats", nats_ca=ca)
    with pytest.raises(UsageError, match="certificate is not accepted"):
        await server.try_login("tls")
    with pytest.raises(UsageError, match=r"cluster\.nats_ca: No such file"):
        await server.try_login("tls", nats_ca=ca + "x")
    with pytest.raises(UsageError, match=r"cluster\.nats_ca: "):
        await server.try_login("tls", nats_ca=str(tmp_path / "ca.key"))


async def test_tls_with_a_certificate_of_the_node(run: Run, tmp_path: Path) -> None:
    server = run(with_tls(tmp_path, ", verify: true"))
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "node.pem", "node.key"))
    await server.try_login("tls", nats_ca=ca, nats_cert=cert, nats_key=key)
    with pytest.raises(UsageError, match=r"cluster\.nats_url: "):
        await server.try_login("tls", nats_ca=ca)
    with pytest.raises(UsageError, match=r"cluster\.nats_cert, cluster\.nats_key: "):
        await server.try_login("tls", nats_ca=ca, nats_cert=cert, nats_key=ca)


async def test_a_server_that_expects_tls_before_it_says_anything(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.cluster.nats.broker.CONNECT_SECONDS", 0.5)
    server = run(with_tls(tmp_path, ", handshake_first: true"))
    ca = str(tmp_path / "ca.pem")
    for scheme in ("tls", "nats"):
        await server.try_login(scheme, nats_ca=ca, nats_tls_first=True)
    with pytest.raises(UsageError, match=r"no answer within 0\.5 s \(cluster\.nats_tls_first, "):
        await server.try_login("tls", nats_ca=ca)
    with pytest.raises(UsageError, match="certificate is not accepted"):
        await server.try_login("tls", nats_tls_first=True)


async def test_a_server_that_speaks_before_tls(run: Run, tmp_path: Path) -> None:
    server = run(with_tls(tmp_path))
    with pytest.raises(UsageError, match="TLS: "):
        await server.try_login("tls", nats_ca=str(tmp_path / "ca.pem"), nats_tls_first=True)


async def test_a_server_without_tls_is_refused_where_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    server = run("")
    with pytest.raises(UsageError, match="the server has no TLS"):
        await server.try_login("tls")


def test_large_messages_over_tls_on_the_event_loop_of_the_service(run: Run, tmp_path: Path) -> None:
    server = run(with_tls(tmp_path))
    settings = ClusterSettings(
        nats_url=(f"tls://127.0.0.1:{server.server.port}",), nats_ca=str(tmp_path / "ca.pem")
    )
    messages = [b"small", b"x" * 3_000_000, b"last"]

    async def exchange() -> list[bytes]:
        here, there = (NatsBroker(settings, name) for name in ("n0", "n1"))
        received: asyncio.Queue[bytes] = asyncio.Queue()
        here.start(lambda _: None)
        there.start(received.put_nowait)
        for broker in (here, there):
            await broker.connect()
        for message in messages:
            here.send("n1", message)
        async with asyncio.timeout(30):
            found = [await received.get() for _ in messages]
        for broker in (here, there):
            broker.stop()
            await broker.closed()
        return found

    assert uvloop.run(exchange()) == messages
