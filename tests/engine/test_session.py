"""One Engine.IO session, fed from either transport."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.engine.peer import Answer, Connect, Forward, Left
from moorage.engine.session import CLOSED, PONG, Closed, EngineSession, Pong
from moorage.engine.upgrade import State, Step
from moorage.wire.engineio import RS, encode_binary
from moorage.wire.errors import PeerError
from moorage.wire.reasons import (
    BAD_PACKET,
    BAD_UTF8,
    PACKET_WHILE_OPENING,
    PAYLOAD_TOO_LARGE,
    UNEXPECTED_BINARY,
    Reason,
)
from moorage.wire.socketio import parse_header


def open_session(max_payload: int = 1_000) -> EngineSession:
    """A session on WebSocket."""
    session = EngineSession(max_payload, max_attachments=3, max_namespaces=3)
    assert session.step(Step.OPENED_WEBSOCKET)
    return session


def refusal(session: EngineSession, packet: bytes) -> Reason:
    """The reason for which a text packet ends the session."""
    with pytest.raises(PeerError) as caught:
        session.receive(packet)
    return caught.value.reason


def test_a_refused_packet_has_a_detail_for_people() -> None:
    for packet, detail in ((b"", "empty packet"), (b"7", "unknown packet type")):
        with pytest.raises(PeerError) as refused:
            open_session().receive(packet)
        assert refused.value.detail == detail


@pytest.mark.parametrize(
    ("packet", "event"),
    [
        (b'42["a"]', Forward(b'42["a"]')),
        ('42["é"]'.encode(), Forward('42["é"]'.encode())),
        (b"40", Connect(b"40", parse_header(b"40"))),
        (b"41", None),
        (b"3", PONG),
        # A client may not send packets of the service, and a pong has no data.
        (b"3probe", PONG),
        (b"1", CLOSED),
        (b"6", None),
        (b"5", None),
        (b"0", None),
    ],
)
def test_packets(packet: bytes, event: object) -> None:
    assert open_session().receive(packet) == event


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", BAD_PACKET),
        (b"2", BAD_PACKET),
        (b"2probe", BAD_PACKET),
        (b"7", BAD_PACKET),
        (b"hello", BAD_PACKET),
        (b"\xff", BAD_PACKET),
        (b'42["\xff"]', BAD_UTF8),
        (b"4" * 1_001, PAYLOAD_TOO_LARGE),
        (b"bAAAA", UNEXPECTED_BINARY),
        (b"b!", BAD_PACKET),
    ],
)
def test_broken_packets(packet: bytes, reason: Reason) -> None:
    assert refusal(open_session(), packet) is reason


@pytest.mark.repair(2)
@pytest.mark.parametrize(
    "packet",
    [
        b'42["x"]\x1e41',
        b'42["x\x1ey"]',
        b"43%d[]\x1e41" % 2**30,
        b"40/a\x1e40/b,",
        b"40\x1e",
        b"4\x1e",
        b'451-["x"]\x1ebAA==',
    ],
)
def test_one_message_is_one_packet(packet: bytes) -> None:
    session = open_session()
    assert refusal(session, packet) is BAD_PACKET
    assert not session.peer.namespaces


@pytest.mark.repair(2)
@pytest.mark.parametrize("code", [code for code in range(0x20) if code not in b"\t\n\r"])
@pytest.mark.parametrize(
    "packet", ['42["x%c"]', '42["é%c"]', "42/n%c,[1]", '430["%c"]', "40/n%c,", "41%c", "3%c", "1%c", "6%c"]
)
def test_a_raw_control_character(code: int, packet: str) -> None:
    session = open_session()
    assert refusal(session, (packet % chr(code)).encode()) is BAD_PACKET
    assert not session.peer.namespaces


@pytest.mark.repair(2)
@pytest.mark.parametrize("text", ["\x7f", "\x80\x9f\u2028\u2029\ufeff", r"\u0000\u001e", "\t\n\r"])
def test_other_characters_are_passed_on(text: str) -> None:
    packet = f'42["x", "{text}"]'.encode()
    assert open_session().receive(packet) == Forward(packet)


@pytest.mark.repair(2)
def test_whitespace_in_json_is_passed_on() -> None:
    packet = b'42["x",\n\t{"a":\r1}]'
    assert open_session().receive(packet) == Forward(packet)


@pytest.mark.repair(2)
def test_control_characters_of_attachments_are_data() -> None:
    data = bytes(range(0x20))
    session = open_session()
    session.receive(b"452-[]")
    assert session.receive(encode_binary(data)) is None
    assert session.receive_binary(data) == Forward(RS.join((b"452-[]", *[encode_binary(data)] * 2)))


def test_binary_from_both_transports() -> None:
    session = open_session()
    session.receive(b"452-[]")
    assert session.receive(b"b" + base64.b64encode(b"poll")) is None
    assert session.receive_binary(b"frame") == Forward(b"452-[]\x1ebcG9sbA==\x1ebZnJhbWU=")
    with pytest.raises(PeerError) as caught:
        session.receive_binary(b"more")
    assert caught.value.reason is UNEXPECTED_BINARY


def test_base64_without_padding_is_padded() -> None:
    session = open_session()
    session.receive(b"451-[]")
    assert session.receive(b"bcG9sbA") == Forward(b"451-[]\x1ebcG9sbA==")


@pytest.mark.repair(17)
@pytest.mark.parametrize(
    "text",
    [
        b"AQID\n",
        b"AQ\r\nID\r\n",
        b"  AQ ID\t",
        base64.encodebytes(b"\xfb\xef\xff" * 40),
        base64.urlsafe_b64encode(b"\xfb\xef\xff" * 40),
        base64.urlsafe_b64encode(b"\xfb\xef\xff\xfb").rstrip(b"="),
        base64.encodebytes(b"\xfb\xef\xff\xfb" * 40).replace(b"=", b""),
        base64.b64encode(b"\xfb\xef\xff\xfb").rstrip(b"=") + b"=",
    ],
)
def test_base64_of_other_languages_is_normalised(text: bytes) -> None:
    session = open_session()
    session.receive(b"451-[]")
    data = base64.urlsafe_b64decode(text.translate(bytes.maketrans(b"+/", b"-_"), b"\r\n\t =") + b"==")
    assert session.receive(b"b" + text) == Forward(b"451-[]\x1eb" + base64.b64encode(data))


@pytest.mark.repair(17)
@pytest.mark.parametrize("text", [b"!", b"A", b"AQ=ID", b"AQID\x00", b"AQ\xffID", b"AQ*D"])
def test_invalid_base64_ends_the_session(text: bytes) -> None:
    session = open_session()
    session.receive(b"451-[]")
    assert refusal(session, b"b" + text) is BAD_PACKET


def test_a_heartbeat_may_come_between_a_packet_and_its_attachments() -> None:
    session = open_session()
    session.receive(b"451-[]")
    assert session.receive(b"3") == PONG
    assert session.receive_binary(b"x") == Forward(b"451-[]\x1ebeA==")


def test_the_limit_counts_bytes_of_one_message() -> None:
    session = open_session(max_payload=7)
    assert session.receive(b'42["a"]') == Forward(b'42["a"]')
    assert refusal(session, b'42["ab"]') is PAYLOAD_TOO_LARGE
    with pytest.raises(PeerError) as caught:
        session.receive_binary(b"x" * 8)
    assert caught.value.reason is PAYLOAD_TOO_LARGE


def test_packets_before_the_session_is_open_are_refused() -> None:
    session = EngineSession(10, 3, 3)
    assert session.state is State.OPENING
    for packet in (b'42["a"]', b"1", b"", b"x" * 11):
        assert refusal(session, packet) is PACKET_WHILE_OPENING
    with pytest.raises(PeerError) as caught:
        session.receive_binary(b"x")
    assert caught.value.reason is PACKET_WHILE_OPENING


def test_packets_after_the_end_are_ignored() -> None:
    # A client's last frames may arrive together with the one that ended the session.
    session = open_session(max_payload=10)
    session.receive(b"451-[]")
    session.step(Step.CLOSE)
    for packet in (b'42["a"]', b"1", b"3", b"", b"40", b"x" * 11):
        assert session.receive(packet) is None
    assert session.receive_binary(b"x") is None
    assert session.peer.namespaces == {}


def test_a_step_that_is_not_allowed_changes_nothing() -> None:
    session = open_session()
    assert not session.step(Step.UPGRADE_ASKED)
    assert session.state is State.WEBSOCKET


PACKETS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"1", b"3", b"6", b"40", b"41", b"451-[]", b"461-1073741824[]", b"bAAAA", b"42[]"]),
)


@given(st.lists(st.tuples(st.booleans(), PACKETS), max_size=20))
def test_any_bytes_are_handled_or_refused(packets: list[tuple[bool, bytes]]) -> None:
    session = open_session(max_payload=18)
    for binary, packet in packets:
        try:
            event = session.receive_binary(packet) if binary else session.receive(packet)
        except PeerError as error:
            assert 2000 <= error.reason.number < 2100
        else:
            assert event is None or isinstance(event, Forward | Connect | Left | Answer | Closed | Pong)
