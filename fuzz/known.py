"""Frames that are recognised without a parser must equal the results of the parsers."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from fuzz.mutate import damaged
from fuzz.target import Target
from moorage.wire.azure import tunnel_frames
from moorage.wire.azure.dataplane import decode_url
from moorage.wire.azure.known import LEAST, KnownCall, KnownFrames
from moorage.wire.azure.tunnel_frames import Request, Response
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.reasons import LINK_BAD_FRAME

_HUB: Final = "chat"
_IDS: Final = re.compile(r"[A-Za-z0-9_-]+")
"""Characters of client ids. The link passes frames with any other id to the parsers."""


def _frame(kind: int, text: bytes, content: bytes) -> bytes:
    size = b"\xd9%c" % len(text) if len(text) < 256 else b"\xda" + len(text).to_bytes(2, "big")
    body = b"\x93%c%b%b\xc4%c%b" % (kind, size, text, len(content), content)
    return len(body).to_bytes(4, "little") + body


def _request(path: bytes, content_type: bytes, content: bytes) -> bytes:
    text = (
        b'{"AckId":71,"LocalRouting":true,"ChannelName":"","HttpMethod":"POST","Url":"https://host/api/hubs/'
    )
    text += b'chat/%b?api-version=2023-07-01","Headers":{"Content-Type":["%b"]},"Type":1}'
    return _frame(1, text % (path, content_type), content)


def _answer(number: int, headers: bytes) -> bytes:
    text = b'{"AckId":%d,"LocalRouting":false,"StatusCode":200,"ChannelName":"","NotCompleted":false,'
    return _frame(2, (text + b'"Headers":{%b},"Type":2}') % (number, headers), b"")


_BODY: Final = b'{"groups":["0~Lw~YQ"],"filter":"connectionId eq \'abc-DEF_1\'"}'
FRAMES: Final = [
    _request(b"connections/abc-DEF_1/:send", b"text/plain", b'430["x"]'),
    _request(b"connections/%b/:send" % (b"y" * 99), b"text/plain", b'430["x"]'),
    _request(b":addToGroups", b"application/json", _BODY),
    _request(b":removeFromGroups", b"application/json", _BODY),
    _answer(290023485, b'"content-type":["application/octet-stream"]'),
    _answer(7, b""),
]
WORDS: Final = [b'"', b"\\u0062", b"%41", b"/", b"\x93", b"\xc4\x01", b"\xd9\x02{}", b',"AckId":1', b"'"]


def _learned() -> KnownFrames:
    known = KnownFrames(_HUB, 10_000)
    for data in FRAMES:
        found, content = tunnel_frames.decode(data)
        if isinstance(found, Request):
            known.learn_call(data, found, content)
        elif isinstance(found, Response):
            known.learn_answer(data, found, content)
    return known


_KNOWN: Final = _learned()


def _damaged(rng: Random) -> bytes:
    data = damaged(rng, FRAMES, WORDS)
    if rng.random() < 0.7:
        data = max(0, len(data) - 4).to_bytes(4, "little") + data[4:]
    return data


def _recognised(data: bytes) -> None:
    if len(data) < LEAST:
        raise PeerError(LINK_BAD_FRAME, "too short")
    answer = _KNOWN.answer(data)
    if answer is not None:
        ack_id, content = answer
        assert tunnel_frames.decode(data) == (Response(ack_id, 200), content)
        return
    call = _KNOWN.call(data)
    if call is None or not _IDS.fullmatch(call.connection):
        raise PeerError(LINK_BAD_FRAME, "not recognised")
    _same(call, data)


def _same(call: KnownCall, data: bytes) -> None:
    found, content = tunnel_frames.decode(data)
    assert isinstance(found, Request)
    operation = decode_url(found.http_method, found.url, found.content_type(), content)
    command = operation.command
    if isinstance(command, JoinGroups | LeaveGroups):
        assert command.to.filter is not None
        to = Selection(connection=command.to.filter.connection_id)
        command = type(command)(command.hub, to, command.groups or ())
    assert isinstance(command, SendToConnection | JoinGroups | LeaveGroups)
    assert (call.ack_id, call.command) == (found.ack_id, command)
    assert (call.like.success, call.like.missing) == (operation.success, operation.missing)


TARGETS = {"azure_known.KnownFrames": Target(_damaged, _recognised)}
