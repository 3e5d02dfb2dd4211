"""Packets as a client writes and reads them."""

from __future__ import annotations

import orjson
import pytest

from moorage.load import packets
from moorage.load.packets import Dialect, Joined, Opened, Stamp

ROOT, ADMIN = Dialect("/"), Dialect("/admin")


def test_connect() -> None:
    assert ROOT.join(None) == b"40"
    assert ADMIN.join({"a": 1}) == b'40/admin,{"a":1}'
    assert orjson.loads(ROOT.join({"a": 1}, "p", "o")[2:]) == {"a": 1, "pid": "p", "offset": "o"}
    assert orjson.loads(ROOT.join(None, "p", "o")[2:]) == {"pid": "p", "offset": "o"}
    assert ADMIN.joined(b'40/admin,{"sid":"s","pid":"p"}') == Joined("s", "p")
    assert ROOT.joined(b"40") == Joined("", "")


@pytest.mark.parametrize("packet", [b"40[]", b"40{", b'40"x"'])
def test_a_connect_answer_that_is_none(packet: bytes) -> None:
    with pytest.raises(ValueError):
        ROOT.joined(packet)


@pytest.mark.parametrize(
    ("packet", "said"),
    [(b'44{"message":"no"}', "no"), (b'44"text"', "text"), (b"44{", "no message"), (b"44{}", "None")],
)
def test_a_refusal(packet: bytes, said: str) -> None:
    assert ROOT.refusal(packet) == said


def test_ack_ids() -> None:
    assert ROOT.ack_id(b'4317["x"]') == 17
    assert ADMIN.ack_id(b"43/admin,3[]") == 3
    assert ROOT.ack_id(b'461-5[{"_placeholder":true,"num":0}]') == 5
    for packet in (b"43[]", b"43x[]", b"46", b"461-[]"):
        with pytest.raises(ValueError):
            ROOT.ack_id(packet)


def test_the_handshake() -> None:
    hello = b'0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
    assert packets.opened(hello) == Opened("s", 25.0, 20.0)
    for packet in (b"0{", b"0{}", b"0[]", b'0{"sid":"s","pingInterval":"x","pingTimeout":1}'):
        with pytest.raises(ValueError):
            packets.opened(packet)


def test_offsets_are_the_last_string() -> None:
    assert packets.offset(b'42["news","text","abc"]') == "abc"
    assert packets.offset(b'42["news","text",1]') == ""
    assert packets.offset(b'42["news"]') == ""


def test_numbers_in_auth() -> None:
    auth = {"user": "u{n}", "list": ["{n}", 1], "flag": True}
    assert packets.numbered(auth, 7) == {"user": "u7", "list": ["7", 1], "flag": True}


def test_events_and_stamps() -> None:
    stamp = Stamp(3, 14, 1234567890123)
    head, tail = ADMIN.emit("publish", packets.stamped(stamp, 100))
    packet = head + tail
    assert packet.startswith(b'42/admin,["publish","moorage:3:14:')
    assert len(orjson.loads(tail)[1]) == 100
    assert packets.stamp_of(packet) == stamp
    assert packets.stamp_of(b'42["other","text"]') is None
