"""Targets of the pure decoders."""

from __future__ import annotations

import json
import zlib
from ipaddress import ip_address
from random import Random
from typing import Any

import msgspec

from fuzz.mutate import damaged, damaged_text
from fuzz.target import Target
from moorage.edge.tcp.header import SIGNATURE, ProxyHeader, Source, proxy_header
from moorage.engine.session import EngineSession
from moorage.engine.upgrade import Step
from moorage.wire import commands, engineio, socketio
from moorage.wire.azure import cloudevents, dataplane, tunnel_frames
from moorage.wire.cluster import messages, streams
from moorage.wire.deflate.messages import inflate
from moorage.wire.deflate.negotiation import ANSWER, negotiate
from moorage.wire.errors import PeerError
from moorage.wire.filters import compiled
from moorage.wire.reasons import BAD_REQUEST
from tests.support.filters import matches

PAYLOADS = [
    b"40", b'40/admin,{"token":"x"}', b"41", b"41/admin,", b'42["message",1,"2",{"3":[true]}]',
    b'42/x,12["a"]', b"431073741825[]", b'451-["e",{"_placeholder":true,"num":0}]\x1ebAQIDBA==',
    b"461-5[]\x1ebAA==", b"1", b"2", b"3", b"3probe", b"6", b'44{"message":"x"}', b'40{"sid":"abc"}',
    b'41{"close":true}', b"bAQID", '42["é"]'.encode(),
]  # fmt: skip
WORDS = [b"\x1e", b"4", b"b", b"/n,", b"1-", b"-", b",", b"[]", b"_placeholder"]


def _payload(rng: Random) -> bytes:
    return damaged(rng, PAYLOADS, WORDS)


def _frames(payload: bytes) -> None:
    data = engineio.frames(payload)
    found = []
    while data:
        size, at = data[1], 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        assert data[0] in (0x81, 0x82)
        found.append(data[at : at + size])
        data = data[at + size :]
    packets = payload.split(engineio.RS)
    assert len(found) == len(packets)
    for packet, content in zip(packets, found, strict=True):
        assert content == (engineio.decode_binary(packet) if packet[:1] == b"b" else packet)


def _split(payload: bytes) -> None:
    packets = engineio.split_payload(payload, 100)
    assert engineio.RS.join(packets) == payload
    assert 0 < len(packets) <= 100


def _binary(packet: bytes) -> None:
    data = engineio.decode_binary(packet)
    assert engineio.decode_binary(engineio.encode_binary(data)) == data


def _header(packet: bytes) -> None:
    header = socketio.parse_header(packet)
    assert 0 <= header.id_at <= header.body <= len(packet)
    if packet[header.body : header.body + 1] == b"[":
        again = socketio.parse_header(socketio.with_ack_id(packet, header, 2**30))
        assert (again.type, again.namespace, again.id) == (header.type, header.namespace, 2**30)
    sid = socketio.connected_sid(packet, header)
    assert sid is None or sid
    assert socketio.closes_engine(packet, header) in (True, False, None)


def _packets(rng: Random) -> list[tuple[bool, bytes]]:
    return [
        (rng.random() < 0.2, packet)
        for _ in range(rng.randrange(12))
        for packet in _payload(rng).split(b"\x1e")[:20]
    ]


def _session(packets: list[tuple[bool, bytes]]) -> None:
    """A whole session: a refusal ends it, as in the service."""
    session = EngineSession(1000, 3, 5)
    session.step(Step.OPENED_WEBSOCKET)
    for binary, packet in packets:
        session.receive_binary(packet) if binary else session.receive(packet)
        assert len(session.peer.namespaces) <= 5


FRAMES = [
    tunnel_frames.encode(1, b'{"AckId":7,"HttpMethod":"POST","Url":"/x","Headers":{"A":["b"]}}', b"2"),
    tunnel_frames.encode(2, b'{"Type":2,"AckId":3,"StatusCode":200,"Headers":{},"NotCompleted":false}', b""),
    tunnel_frames.encode(5, b'{"Type":5,"Message":""}'),
    tunnel_frames.encode(1, b"{}", b"x" * 300),
]


def _frame(rng: Random) -> bytes:
    data = damaged(rng, FRAMES, [b"\x93", b"\xc0", b"\xc4\x01", b"\xd9\x02{}"])
    if rng.random() < 0.7:
        # Otherwise nearly all fail at the length, which is checked first.
        data = max(0, len(data) - 4).to_bytes(4, "little") + data[4:]
    return data


def _tunnel(data: bytes) -> None:
    found, content = tunnel_frames.decode(data)
    assert isinstance(content, bytes)
    if isinstance(found, tunnel_frames.Request):
        assert isinstance(found.content_type(), str)


TERMS = [
    b'{"socketio":{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}',
    b'{"socketio":{}}',
    b'{"socketio":{"maxPayload":null}}',
]


def _terms(content: bytes) -> None:
    info = cloudevents.connect_answer(content)
    if info is not None:
        assert info.max_payload >= 1
        engineio.open_packet(
            "sid",
            upgrades=True,
            ping_interval=info.ping_interval,
            ping_timeout=info.ping_timeout,
            max_payload=info.max_payload,
        )


FILTERS = [
    "'0~Lw~' in groups", "'a' in groups or 'b' in groups and not ('c' in groups)", "connectionId eq 'x'",
    "userId ne null and length(userId) gt 3", "not (userId eq 'O''Neil')", "substring(userId, 1, 2) eq 'ab'",
    "contains(tolower(userId), 'x') or startswith(userId, 'y')", "indexof(userId,'a') add 1 gt 2",
]  # fmt: skip
FILTER_WORDS = [" and ", " or ", "not ", "(", ")", "'", "in groups", "userId", " eq ", "null", ","]


class _Person(msgspec.Struct):
    id: str = "x"
    user_id: str | None = "abc"
    groups: frozenset[str] = frozenset(("a", "0~Lw~"))


def _filter(text: str) -> None:
    for repair in (False, True):
        found = compiled.compile_filter(text, repair=repair)
        for person in (_Person(), _Person(user_id=None)):
            assert matches(found, person) in (True, False)


PATHS = [
    "/api/hubs/h/:send", "/api/hubs/h/groups/0~Lw~/:send", "/api/hubs/h/connections/c1/:send",
    "/api/hubs/h/:addToGroups", "/api/hubs/h/:invoke", "/api/hubs/h/users/u/groups/g",
    "/api/hubs/h/groups/g/connections/c1", "/api/hubs/h/:generateToken", "/api/hubs/h/groups/g/connections",
    "/api/hubs/h/permissions/joinLeaveGroup/connections/c",
]  # fmt: skip
QUERIES = [
    "api-version=2024-12-01",
    "filter='a'+in+groups",
    "excluded=a&excluded=b",
    "maxpagesize=5&top=3",
    "reason=x",
]
BODIES = [b"2", b'42["x"]', b'{"groups":["a"],"filter":"connectionId eq \'x\'"}', b"[1]", b""]
TYPES = ["text/plain", "application/json", "application/octet-stream", "text/plain; charset=utf-8", "", "x/y"]


def _rest(rng: Random) -> tuple[str, str, str, str, bytes]:
    whole = [rng.random() < 0.7 for _ in range(4)]
    query = [rng.choice(QUERIES) for _ in range(rng.randrange(3))]
    return (
        rng.choice(("GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "X")),
        rng.choice(PATHS) if whole[0] else damaged_text(rng, PATHS, ["/", "%2F", "%ff", ":", ".."]),
        "&".join([QUERIES[0], *query] if whole[1] else [damaged_text(rng, QUERIES, ["&", "=", "%27", "+"])]),
        "text/plain" if whole[2] else rng.choice(TYPES),
        rng.choice(BODIES) if whole[3] else damaged(rng, BODIES),
    )


def _dataplane(call: tuple[str, str, str, str, bytes]) -> None:
    method, path, query, content_type, body = call
    dataplane.operation_name(method, path)
    dataplane.allowed_methods(path)
    dataplane.decode(method, path, dataplane.parse_query(query), content_type, body)


def _dataplane_url(call: tuple[str, str, str, str, bytes]) -> None:
    method, path, query, content_type, body = call
    first: Any = None
    for url in (f"https://host{path}?{query}", f"{path}?{query}", path):
        try:
            first = dataplane.decode_url(method, url, content_type, body)
        except PeerError as error:
            first = error
    if isinstance(first, PeerError):
        raise first


_FILTERED = commands.Selection(
    filter=compiled.compile_filter("'g' in groups and userId eq 'u'"), excluded=("c",)
)
BODIES_OF_NODES: list[messages.Body] = [
    commands.Send("app", _FILTERED, b'42["x"]'), commands.SendToConnection("app", "c1", b"42[]"),
    commands.Invoke("app", commands.Selection(group="g"), b"42[]", 5.0), commands.Exists("app", _FILTERED),
    commands.JoinGroups("app", commands.Selection(user="u"), ("g", "h")), commands.ListGroup("app", "g", 10),
    commands.FetchSockets("app", commands.EVERYONE, "/", 5.0, 10**12, "s1"), messages.Finished(("s1",)),
    commands.TellServers("app", "/", b'42["x"]', "s1", 1.0), messages.Refused("too-many-groups", "at most 5"),
    messages.Result(True, 3, (commands.Member("c1", None),), False, 0, 2), messages.Answer("s", b"43[]"),
    messages.Sockets("s1", (messages.Socket("s", "c", "u", 10**12, ("r",), b"{}"),)),
]  # fmt: skip
MESSAGES = [messages.encode(messages.Envelope("n1", body, 7, "i", 1, 2, ("n2",))) for body in BODIES_OF_NODES]


def _node_message(data: bytes) -> None:
    found = messages.decode(data)
    assert messages.encode(messages.decode(messages.encode(found))) == messages.encode(found)


NUMBERED = [
    streams.encode(streams.prefix(kind, b"n1"), 1, 2, b"payload", marks)
    for kind in range(streams.ALL, streams.GONE_DIRECT + 1)
    for marks in (None, [(b"n2", 3, 4), (b"n3", 5, 6)])
]


def _numbered(data: bytes) -> None:
    kind, sender, first, second, marks, payload = streams.decode(data)
    again = streams.encode(streams.prefix(kind, sender), first, second, payload, marks)
    assert streams.decode(again) == (kind, sender, first, second, marks, payload)


def _proxy(data: bytes) -> None:
    """Feed a header, then look at what it named."""
    header = ProxyHeader()
    while data and (size := header.wanted):
        header.feed(data[:size])
        data = data[size:]
    if header.source is not None:
        assert ip_address(header.source.address), header.source
        assert 0 <= header.source.port < 65_536, header.source


PROXY_HEADERS = [
    proxy_header(Source("192.0.2.7", 4711)),
    proxy_header(Source("2001:db8::7", 1)),
    SIGNATURE + b"\x20\x00\x00\x00",
]

COMPRESSED = [zlib.compress(payload, 9, -15) + b"\x00" for payload in PAYLOADS]


def _inflate(data: bytes) -> None:
    """No more is made of a message than its limit."""
    assert len(inflate(data, 200)) <= 200


def _negotiate(header: str) -> None:
    """Any header has an answer, and only offers of the extension get one."""
    answer = negotiate(header)
    assert not answer or (answer.startswith(ANSWER) and "permessage-deflate" in header)
    if not answer:
        raise PeerError(BAD_REQUEST)


OFFERS = [
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=15; client_no_context_takeover, x-webkit-deflate-frame",
]
OFFER_WORDS = [
    "permessage-deflate",
    ";",
    ",",
    "=",
    '"',
    "server_max_window_bits",
    "server_no_context_takeover",
    "15",
]

TARGETS = {
    "deflate.inflate": Target(lambda rng: damaged(rng, COMPRESSED, [b"\x00\x00\xff\xff", b"\x01"]), _inflate),
    "deflate.negotiate": Target(lambda rng: damaged_text(rng, OFFERS, OFFER_WORDS), _negotiate),
    "proxy.header": Target(
        lambda rng: damaged(rng, PROXY_HEADERS, [SIGNATURE, b"\x21\x11\x00\x0c", b"\xff\xff", b"PROXY "]),
        _proxy,
    ),
    "engineio.split_payload": Target(_payload, _split),
    "engineio.frames": Target(_payload, _frames),
    "engineio.decode_binary": Target(lambda rng: damaged(rng, [b"bAQIDBA==", b"b", b"bAQ"]), _binary),
    "socketio.parse_header": Target(_payload, _header),
    "engine.session": Target(_packets, _session),
    "azure_tunnel.decode": Target(_frame, _tunnel),
    "cloudevents.connect_answer": Target(
        lambda rng: damaged(rng, TERMS, [b'"pingInterval":', b"-", b"e9", json.dumps({}).encode()]), _terms
    ),
    "filters.compile_filter": Target(lambda rng: damaged_text(rng, FILTERS, FILTER_WORDS), _filter),
    "streams.decode": Target(lambda rng: damaged(rng, NUMBERED, [b"\x02n1", b"\xff" * 8]), _numbered),
    "cluster.decode": Target(
        lambda rng: damaged(rng, MESSAGES, [b"\xc0", b"\xc3", b"\x91", b"\xc4\x01"]), _node_message
    ),
    "dataplane.decode": Target(_rest, _dataplane),
    "dataplane.decode_url": Target(_rest, _dataplane_url),
}
