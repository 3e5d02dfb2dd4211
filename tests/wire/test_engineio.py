"""Engine.IO packets, payloads and frames, checked with independent parsers: websockets for frames,
python-engineio for payloads."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator

import pytest
from engineio.packet import Packet
from engineio.payload import Payload
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from moorage.wire import engineio
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PACKET, BAD_UTF8, TOO_MANY_PACKETS, Reason

SIZES = [0, 1, 125, 126, 127, 0xFFFF, 0x10000, 0x10001]


def read_frames(*chunks: bytes) -> list[tuple[Opcode, bytes]]:
    """The frames in a stream that arrives in `chunks`; nothing may be left over."""
    reader = StreamReader()
    found: list[tuple[Opcode, bytes]] = []

    def frames() -> Generator[None, None, None]:
        while True:
            frame = yield from Frame.parse(reader.read_exact, mask=False)
            assert frame.fin
            assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)
            found.append((frame.opcode, bytes(frame.data)))

    parser = frames()
    next(parser)
    for chunk in chunks:
        reader.feed_data(chunk)
        next(parser)
    assert not reader.buffer
    return found


def refusal(call: object, *args: object) -> Reason:
    """The reason with which `call` refuses."""
    assert callable(call)
    with pytest.raises(PeerError) as caught:
        call(*args)
    return caught.value.reason


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_all_header_sizes(size: int) -> None:
    data = b"x" * size
    assert read_frames(engineio.text_frame(data)) == [(Opcode.TEXT, data)]
    assert read_frames(engineio.binary_frame(data)) == [(Opcode.BINARY, data)]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_binary_header_is_the_beginning_of_its_frame(size: int) -> None:
    assert engineio.binary_header(size) + bytes(size) == engineio.binary_frame(bytes(size))


def test_a_stream_of_frames_may_be_split_anywhere() -> None:
    payload = b"2\x1e42" + b"y" * 130 + b"\x1ebYWJj"
    stream = engineio.frames(payload)
    expected = [(Opcode.TEXT, b"2"), (Opcode.TEXT, b"42" + b"y" * 130), (Opcode.BINARY, b"abc")]
    for cut in range(len(stream) + 1):
        assert read_frames(stream[:cut], stream[cut:]) == expected
    assert read_frames(*(bytes((byte,)) for byte in stream)) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", [(Opcode.TEXT, b"")]),
        (b'42["a"]', [(Opcode.TEXT, b'42["a"]')]),
        (b"bAAE=", [(Opcode.BINARY, b"\x00\x01")]),
        (b"b", [(Opcode.BINARY, b"")]),
        (b"6\x1e1", [(Opcode.TEXT, b"6"), (Opcode.TEXT, b"1")]),
    ],
)
def test_frames_of_a_payload(payload: bytes, expected: list[tuple[Opcode, bytes]]) -> None:
    assert read_frames(engineio.frames(payload)) == expected


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x1e"), max_size=200)
PACKETS = st.one_of(TEXTS, st.binary(max_size=200))


@given(st.lists(PACKETS, min_size=1, max_size=8))
def test_payloads_of_another_encoder(data: list[str | bytes]) -> None:
    payload: bytes = Payload([Packet(4, item) for item in data]).encode().encode()
    packets = engineio.split_payload(payload)
    assert len(packets) == len(data)
    for packet, item in zip(packets, data, strict=True):
        if isinstance(item, bytes):
            assert engineio.decode_binary(packet) == item
            assert engineio.encode_binary(item) == packet
        else:
            assert packet == b"4" + item.encode()
    assert read_frames(engineio.frames(payload)) == [
        (Opcode.BINARY, item) if isinstance(item, bytes) else (Opcode.TEXT, b"4" + item.encode())
        for item in data
    ]


def test_payload_limits() -> None:
    assert engineio.split_payload(b"\x1e".join([b"3"] * 10), limit=10) == [b"3"] * 10
    assert refusal(engineio.split_payload, b"\x1e".join([b"3"] * 11), 10) is TOO_MANY_PACKETS
    # A payload of separators is counted before it is split.
    assert refusal(engineio.split_payload, b"\x1e" * 1_000_000) is TOO_MANY_PACKETS


@pytest.mark.parametrize("payload", [b"", b"\x1e", b"3\x1e", b"\x1e3", b"3\x1e\x1e3"])
def test_empty_packets_are_refused(payload: bytes) -> None:
    assert refusal(engineio.split_payload, payload) is BAD_PACKET


@given(st.binary(max_size=300))
def test_any_payload_is_split_or_refused(payload: bytes) -> None:
    try:
        assert b"\x1e".join(engineio.split_payload(payload, limit=20)) == payload
    except PeerError as error:
        assert error.reason in (BAD_PACKET, TOO_MANY_PACKETS)
    try:
        read_frames(engineio.frames(payload))
    except PeerError as error:
        assert error.reason is BAD_PACKET


@given(st.binary(max_size=100))
def test_binary_packets(data: bytes) -> None:
    packet = engineio.encode_binary(data)
    assert packet == b"b" + base64.b64encode(data)
    assert engineio.decode_binary(packet) == data
    assert engineio.decode_binary(packet.rstrip(b"=")) == data


@pytest.mark.parametrize(
    "packet", [b"bA", b"b=", b"bAA=A", b"b AAA", b"bAAA\n", b"b-_-_", b"b\xff\xff", b"b!!!!"]
)
def test_what_is_not_base64(packet: bytes) -> None:
    assert refusal(engineio.decode_binary, packet) is BAD_PACKET
    assert refusal(engineio.frames, b"42[]\x1e" + packet) is BAD_PACKET


@given(st.one_of(st.binary(max_size=60), TEXTS.map(str.encode)))
def test_text_is_utf8_or_refused(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        assert refusal(engineio.check_text, data) is BAD_UTF8
    else:
        assert engineio.check_text(data) is data


@pytest.mark.parametrize("data", [b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"ok\xc3"])
def test_utf8_as_strict_as_rfc_3629(data: bytes) -> None:
    assert refusal(engineio.check_text, data) is BAD_UTF8


def test_open_packet() -> None:
    packet = engineio.open_packet("s-1", upgrades=True, ping_interval=25, ping_timeout=20, max_payload=7)
    assert packet[:1] == b"0"
    assert json.loads(packet[1:]) == {
        "sid": "s-1",
        "upgrades": ["websocket"],
        "pingInterval": 25,
        "pingTimeout": 20,
        "maxPayload": 7,
    }
    other = engineio.open_packet("s-1", upgrades=False, ping_interval=25, ping_timeout=20, max_payload=7)
    assert json.loads(other[1:])["upgrades"] == []


def test_the_fixed_packets() -> None:
    assert engineio.split_payload(engineio.NOOP_CLOSE) == [engineio.NOOP, engineio.CLOSE]
    assert engineio.PROBE_ANSWER[1:] == engineio.PROBE[1:] == b"probe"
