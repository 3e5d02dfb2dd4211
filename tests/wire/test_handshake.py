"""The handshake JSON of the moorage dialect."""

from __future__ import annotations

import msgspec

from moorage.wire.azure.cloudevents import connect_body
from moorage.wire.handshake import Handshake, Kept, OpenInfo, Origin, handshake_json


def test_a_complete_handshake() -> None:
    handshake = Handshake(
        query={"EIO": ["4"], "a": ["1", "2"]},
        headers={"host": ["live.example"], "x-name": ["\xe9\u20ac"]},
        claims={"role": ["admin"]},
        user_id="ada",
        groups=("g",),
        origin=lambda: Origin("/socket.io/?EIO=4&a=1&a=2", "2001:db8::1"),
        secure=True,
    )
    assert msgspec.json.decode(handshake_json(handshake, 1_700_000_000_123)) == {
        "headers": {"host": ["live.example"], "x-name": ["\xe9\u20ac"]},
        "query": {"EIO": ["4"], "a": ["1", "2"]},
        "claims": {"role": ["admin"]},
        "url": "/socket.io/?EIO=4&a=1&a=2",
        "address": "2001:db8::1",
        "secure": True,
        "issued": 1_700_000_000_123,
    }


def test_a_minimal_handshake() -> None:
    told = msgspec.json.decode(handshake_json(Handshake(query={}, headers={}), 0))
    assert told == {
        "headers": {}, "query": {}, "claims": {}, "url": "", "address": "", "secure": False, "issued": 0,
    }  # fmt: skip


def test_the_origin_is_requested_once_and_only_by_this_dialect() -> None:
    asked: list[int] = []

    def origin() -> Origin:
        asked.append(1)
        return Origin("/", "192.0.2.1")

    handshake = Handshake(query={}, headers={}, origin=origin)
    assert asked == []
    handshake_json(handshake, 0)
    assert asked == [1]


def test_strange_text_from_a_request_is_still_json() -> None:
    strange = {'quote " \\': ["line\r\n\x00\x1f", "\ud7ff\U0010ffff"]}
    told = msgspec.json.decode(handshake_json(Handshake(query=strange, headers=strange), 0))
    assert told["query"] == told["headers"] == strange


def test_a_kept_handshake_is_the_same_json_when_somebody_asks() -> None:
    handshake = Handshake(
        query={"a": ["1"]},
        headers={"host": ["h"]},
        claims={"sub": ["ann"]},
        origin=lambda: Origin("/x?a=1", "192.0.2.1"),
        secure=True,
    )
    kept = Kept(connect_body(handshake), *handshake.origin(), handshake.secure)
    told = msgspec.json.decode(handshake_json(handshake, 7))
    assert msgspec.json.decode(bytes(kept)) | {"issued": 7} == told


def test_the_default_terms_are_engineios() -> None:
    assert OpenInfo() == OpenInfo(25_000, 20_000, 1_000_000)
