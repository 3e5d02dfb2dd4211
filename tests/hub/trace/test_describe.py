"""What a packet is, for a trace."""

from __future__ import annotations

import pytest

from moorage.hub.trace.describe import (
    MAX_NAME,
    MAX_PAYLOAD,
    Description,
    Whole,
    clean,
    describe,
    in_frames,
    in_payload,
    shown,
)
from moorage.wire.deflate.messages import Packer
from moorage.wire.engineio import binary_frame, encode_binary, frames, text_frame
from tests.hub.fakes import unframe


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (b"", Description("unknown")),
        (b"x", Description("unknown")),
        (b"\xff\xff", Description("unknown")),
        (b"2", Description("ping")),
        (b"3probe", Description("pong")),
        (b"bAQI=", Description("binary")),
        (b"4", Description("unknown")),
        (b"49[]", Description("unknown")),
        (b"40", Description("connect", "/", None, None, 2)),
        (b'40/admin,{"token":"x"}', Description("connect", "/admin", None, None, 9)),
        (b"41/admin,", Description("disconnect", "/admin", None, None, 9)),
        (b'42["chat",1]', Description("event", "/", "chat", None, 2)),
        (b'42/n,7["chat"]', Description("event", "/n", "chat", 7, 6)),
        (b"437[1]", Description("ack", "/", None, 7, 3)),
        (b'44{"message":"no"}', Description("connect_error", "/", None, None, 2)),
        (b'452-/n,3["up",{}]', Description("event", "/n", "up", 3, 8)),
        (b"461-3[]", Description("ack", "/", None, 3, 5)),
        ('42["häuser"]'.encode(), Description("event", "/", "häuser", None, 2)),
    ],
)
def test_types(packet: bytes, found: Description) -> None:
    assert describe(packet) == found


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (b'[ \n"a"]', "a"),
        (b'["\\u0041\\n"]', "A\n"),
        (b'["\\ud83d"]', "?"),
        (b'["\\x"]', "\\x"),
        (b'["\xff"]', "\N{REPLACEMENT CHARACTER}"),
        (b"[12,3]", "12"),
        (b"[-1.5e3]", "-1.5e3"),
        (b"[" + b"1" * 500 + b"]", "1" * MAX_NAME),
        (b"[null]", None),
        (b"[]", None),
        (b"{}", None),
        (b'["' + b"x" * MAX_NAME + b'"]', "x" * MAX_NAME),
        (b'["' + b"x" * (MAX_NAME + 1) + b'"]', "x" * MAX_NAME + "…"),
        (b'["' + b"\\u0041" * MAX_NAME + b'"]', "A" * MAX_NAME),
        (b'["' + b"x" * 1_000_000, "x" * MAX_NAME + "…"),
        (b'["' + b"\\u0041" * 100_000 + b'"]', "A" * MAX_NAME + "…"),
    ],
)
def test_names_of_events(array: bytes, name: str | None) -> None:
    assert describe(b"42" + array).event == name


def test_the_beginning_of_the_data() -> None:
    assert shown(b'42["a"]', 2) == '["a"]'
    assert shown(b"42" + b"x" * MAX_PAYLOAD, 2) == "x" * MAX_PAYLOAD
    assert shown(b"42" + b"x" * (MAX_PAYLOAD + 1), 2) == "x" * MAX_PAYLOAD + "…"
    assert shown(b"42\xff", 2) == "\N{REPLACEMENT CHARACTER}"


def test_clean_text() -> None:
    assert clean("a\ud83d") == "a?"


PAYLOADS = [
    (b"2", [Whole(b"2", 0, 1)]),
    (b'42["a"]\x1e3', [Whole(b'42["a"]', 0, 7), Whole(b"3", 0, 1)]),
    (b"451-[]\x1ebAQID\x1ebAQ==\x1e2", [Whole(b"451-[]", 2, 6 + 3 + 1), Whole(b"2", 0, 1)]),
]


@pytest.mark.parametrize(("payload", "found"), PAYLOADS)
def test_packets_in_either_form(payload: bytes, found: list[Whole]) -> None:
    assert list(in_payload(payload)) == found
    framed = frames(payload)
    assert unframe(framed) == payload.split(b"\x1e")
    assert list(in_frames(framed)) == found


def test_long_frames() -> None:
    for size in (125, 126, 65_535, 65_536):
        text = b"42" + b"x" * (size - 2)
        assert list(in_frames(text_frame(text) + text_frame(b"2"))) == [
            Whole(text, 0, size),
            Whole(b"2", 0, 1),
        ]
        whole = Whole(b"451-[]", 1, 6 + size)
        assert list(in_frames(text_frame(b"451-[]") + binary_frame(b"x" * size))) == [whole]


def test_a_lone_attachment() -> None:
    assert list(in_payload(b"bAQID")) == [Whole(b"bAQID", 0, 5)]
    assert list(in_frames(binary_frame(b"123") + binary_frame(b"4"))) == [
        Whole(b"b", 0, 3),
        Whole(b"b", 0, 1),
    ]


@pytest.mark.parametrize("data", [b"", b"\x1e", b"\x1e\x1e"])
def test_nothing(data: bytes) -> None:
    assert list(in_payload(data)) == []


@pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\x7e", b"\x81\x7f\x01", b"\x81\x00"])
def test_cut_frames(data: bytes) -> None:
    assert list(in_frames(data)) == []


def test_compressed_frames() -> None:
    text = b'42["news","' + b"x" * 20_000 + b'"]'
    packed = Packer(6, 100, 100_000).frames(b"2\x1e" + text + b"\x1e" + b"3")
    assert packed is not None
    first, whole, last = in_frames(packed)
    assert (first, last) == (Whole(b"2", 0, 1), Whole(b"3", 0, 1))
    assert describe(whole.packet).event == "news"
    assert shown(whole.packet, 2) == text[2 : 2 + MAX_PAYLOAD].decode() + "…"
    assert whole.size < 200, "as it is sent"


def test_compressed_attachments() -> None:
    packed = Packer(6, 100, 100_000).frames(b"451-[]\x1e" + encode_binary(bytes(1_000)))
    assert packed is not None
    (whole,) = in_frames(packed)
    assert (whole.packet, whole.attachments) == (b"451-[]", 1)


def test_a_frame_that_only_seems_compressed() -> None:
    (whole,) = in_frames(b"\xc1\x03\xff\xff\xff")
    assert describe(whole.packet).type == "unknown"
