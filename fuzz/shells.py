"""Targets outside the pure decoders: tokens, configuration, first bytes, fragments, a whole node."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import jwt
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from fuzz.mutate import damaged, damaged_text
from fuzz.target import Target
from fuzz.wire import FILTERS, PAYLOADS, WORDS
from moorage import auth
from moorage.config.files import parse_text
from moorage.config.model import ConfigError
from moorage.config.sources import from_tree
from moorage.edge.http.acceptor import read_upgrade
from moorage.edge.http.upgrade import MAX_FIELDS, parse_query
from moorage.edge.messages import Assembler
from moorage.engine.upgrade import State
from moorage.hub.hub import Connection
from moorage.hub.settings import Limits
from moorage.wire.commands import EVERYONE, Invoke, JoinGroups, LeaveGroups, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import compile_filter
from tests.hub.fakes import HUB, RecordingAnswers, RecordingOpening, World

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0
CLAIMS = [
    '{"aud":"http://h/x","exp":1700000060,"iat":1700000000,"sub":"ann","webpubsub.group":["g"]}',
    "{}",
    "[]",
]


def _token(rng: Random) -> str:
    """A token damaged before or after it was signed."""
    text = damaged_text(rng, CLAIMS, ['"sub":', '"nbf":', "null", "[", "{"]).encode(errors="replace")
    if rng.random() < 0.5:
        return jwt.api_jws.encode(text, KEY, algorithm="HS256")
    signed = jwt.api_jws.encode(CLAIMS[0].encode(), KEY, algorithm="HS256")
    return damaged_text(rng, [signed, "..", "a.b.c"], [".", "=", "-", "_", "eyJhbGciOiJub25lIn0"])


def _verify(token: str) -> None:
    claims = auth.verify(token, auth.AccessKeys(KEY), ("http://h/x",), NOW, 30.0)
    assert claims.expires > NOW - 31
    assert all(isinstance(text, str) for values in claims.all.values() for text in values)


def _urls(rng: Random) -> tuple[str, str]:
    examples = ["http://h:80/clients/socketio/hubs/x", "ws://h/server/tunnel?hub=a&target=b", "//", "h:1", ""]
    return damaged_text(rng, examples, ["%2F", "://", "?", "&", "@"]), damaged_text(rng, examples)


def _audiences(urls: tuple[str, str]) -> None:
    ours, theirs = urls
    for audience in (
        auth.client_audience(ours, "h"),
        auth.rest_audiences(ours, "/api/x", "a=b"),
        auth.tunnel_audience(ours, theirs),
    ):
        assert audience(theirs) in (True, False)


CONFIGS = [
    "server:\n  port: 8080\n",
    'keys: {primary: "x"}\nhubs:\n  a: {anonymous: false}\n',
    "limits: [1]\n",
    "a: &b [*b]",
    '{"server":{"port":1}}',
    "[server]\nport = 1\n",
]


def _config(given: tuple[str, str]) -> None:
    text, suffix = given
    from_tree(parse_text(text, suffix, "file"), "file")


HEADS = [
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\nrest",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
]
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _first_bytes(data: bytes) -> None:
    found = read_upgrade(data, 4096)
    if found is not None:
        target, headers, end = found
        assert target.startswith("/")
        assert data[:end].endswith(b"\r\n\r\n")
        assert not any(map(_CONTROL.search, headers))
        assert not any(_CONTROL.search(value) for values in headers.values() for value in values)
        assert not headers.keys() & {"content-length", "transfer-encoding"}


def _query(text: str) -> None:
    fields = parse_query(text)
    assert sum(len(values) for values in fields.values()) <= MAX_FIELDS


def _fragments(rng: Random) -> list[tuple[int, bytes, bool]]:
    fragments = []
    for _ in range(rng.randrange(4)):
        count = rng.choice((1, 2, 3, 12))
        fragments += [(0 if n else 1, rng.randbytes(rng.randrange(9)), n == count - 1) for n in range(count)]
    if rng.random() < 0.3:
        fragments.insert(rng.randrange(len(fragments) + 1), (rng.randrange(3), b"x", rng.random() < 0.5))
    return fragments


def _assemble(fragments: list[tuple[int, bytes, bool]]) -> None:
    assembler = Assembler(40)
    for kind, payload, fin in fragments:
        message = assembler.add(_make_test_ws_frame(WSMsgType(kind), payload, fin, False))
        assert message is None or len(message[1]) <= 40


Step = tuple[str, int, bytes, str]


def _steps(rng: Random) -> list[Step]:
    """Actions of clients and an app server on one node."""
    kinds = ("client", "client", "binary", "send", "all", "invoke", "join", "leave", "open")
    return [
        (rng.choice(kinds), rng.randrange(4), damaged(rng, PAYLOADS, WORDS), rng.choice(FILTERS))
        for _ in range(rng.randrange(30))
    ]


def _node(steps: list[Step]) -> None:
    """Only `PeerError` is raised, a client's fault ends only that client, and the indexes stay consistent."""
    world = World(limits=Limits(max_payload=1000, max_namespaces=5, max_groups=20, outbox_bytes=5000))
    world.server()
    clients = [world.client() for _ in range(3)]
    answers = RecordingAnswers()
    for kind, which, payload, text in steps:
        if kind == "open":
            clients.append(world.open(RecordingOpening()))
            continue
        try:
            _do(world, clients[which % len(clients)], kind, payload, text, answers)
        except PeerError:
            continue
        finally:
            world.settle()
        _check(world, clients)


def _do(
    world: World, client: Connection, kind: str, payload: bytes, text: str, answers: RecordingAnswers
) -> None:
    one = Selection(connection=client.id)
    some = Selection(filter=compile_filter(text))
    match kind:
        case "client":
            for packet in payload.split(b"\x1e"):
                world.node.receive(client, packet)
        case "binary":
            world.node.receive_binary(client, payload)
        case "send":
            world.emit(one, payload)
        case "all":
            world.emit(some, payload)
        case "invoke":
            world.execute(Invoke(HUB, EVERYONE, payload), RecordingAnswers())
        case "join":
            world.execute(JoinGroups(HUB, some, (json.dumps(text)[:20], "0~Lw~eA")))
        case "leave":
            world.execute(LeaveGroups(HUB, some, None))
            world.execute(Send(HUB, EVERYONE, payload))


def _check(world: World, clients: list[Connection]) -> None:
    hub = world.node.hub(HUB)
    if hub is None:
        return
    open_now = {client.id for client in clients if State.OPENING < client.session.state < State.CLOSED}
    assert set(hub.directory.connections) == open_now
    for client in clients:
        assert client.session.state != State.CLOSED or not client.groups
        for group in client.groups:
            assert client in hub.directory.rooms.members(group)
    sockets: Any = sum(
        1
        for client in clients
        if State.OPENING < client.session.state < State.CLOSED
        for sid in client.session.peer.namespaces.values()
        if sid
    )
    assert world.sockets == sockets


TARGETS = {
    "auth.verify": Target(_token, _verify),
    "auth.audience": Target(_urls, _audiences),
    "config": Target(
        lambda rng: (
            damaged_text(rng, CONFIGS, ["- ", "{", "}", ": ", "\n  ", "!!python/x", "<<: "]),
            rng.choice((".yaml", ".yaml", ".json", ".toml")),
        ),
        _config,
        (ConfigError,),
    ),
    "edge.read_upgrade": Target(lambda rng: damaged(rng, HEADS, [b"\r\n", b": ", b"Upgrade"]), _first_bytes),
    "edge.parse_query": Target(
        lambda rng: damaged_text(rng, ["EIO=4&transport=polling&sid=x", "a=%20&b", "&&=&"], ["&", "=", "%"]),
        _query,
    ),
    "edge.assembler": Target(_fragments, _assemble),
    "hub.node": Target(_steps, _node),
}
