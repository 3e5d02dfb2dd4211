"""Socket.IO packet headers, against python-socketio's encoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from moorage.wire import socketio
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_SOCKETIO_PACKET, BAD_UTF8


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        # type, attachments, namespace, ack id, JSON
        (b'42["a"]', (2, 0, "/", None, b'["a"]')),
        (b'421["a"]', (2, 0, "/", 1, b'["a"]')),
        (b'42/,["a"]', (2, 0, "/", None, b'["a"]')),
        (b'42/ns,["a"]', (2, 0, "/ns", None, b'["a"]')),
        (b'42/ns,12["a","/x,"]', (2, 0, "/ns", 12, b'["a","/x,"]')),
        (b'451-["a"]', (5, 1, "/", None, b'["a"]')),
        (b'450-["a"]', (5, 0, "/", None, b'["a"]')),
        (b'4510-/ns,7["a"]', (5, 10, "/ns", 7, b'["a"]')),
        (b"461-/ns,0[]", (6, 1, "/ns", 0, b"[]")),
        (b"43/ns,0[]", (3, 0, "/ns", 0, b"[]")),
        (b"40", (0, 0, "/", None, b"")),
        (b"40/ns", (0, 0, "/ns", None, b"")),
        (b"40/ns,", (0, 0, "/ns", None, b"")),
        (b"40/a?b=c,{}", (0, 0, "/a?b=c", None, b"{}")),
        (b'40/ns,{"t":"x"}', (0, 0, "/ns", None, b'{"t":"x"}')),
        ("40/né,".encode(), (0, 0, "/né", None, b"")),
        (b"41", (1, 0, "/", None, b"")),
        (b'44/ns,{"message":"no"}', (4, 0, "/ns", None, b'{"message":"no"}')),
    ],
)
def test_headers(packet: bytes, expected: tuple[int, int, str, int | None, bytes]) -> None:
    header = socketio.parse_header(packet)
    found = (header.type, header.attachments, header.namespace, header.id, packet[header.body :])
    assert found == expected


@pytest.mark.parametrize("packet", [b"40", b"40{}", b'40{"sid":"a"}'])
def test_the_header_of_a_connect_in_the_main_namespace(packet: bytes) -> None:
    header = socketio.parse_header(packet)
    assert (header.type, header.attachments, header.namespace, header.id) == (0, 0, "/", None)
    assert (header.id_at, header.body) == (2, 2)


@pytest.mark.parametrize(
    "packet",
    [
        *(b"", b"4", b"3", b"47", b"48[]", b"4[]", b" 42[]", b"46", b"461"),
        *(b'45["a"]', b'45-["a"]', b'45x-["a"]', b"45123456-[]"),
        b"40/" + b"n" * socketio.MAX_NAMESPACE + b",",
    ],
)
def test_what_is_not_a_header(packet: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        socketio.parse_header(packet)
    assert caught.value.reason is BAD_SOCKETIO_PACKET


@pytest.mark.repair(2)
@pytest.mark.parametrize(
    "packet",
    [
        *(b"43 7[]", b"437 [1]", b"437\n[1]", b"43/n, 7[]", "43\ufeff7[]".encode(), b"43\x0b7[]"),
        *(b"400-/admin,", b"410-/admin,", b"431-[]", "40\u0663-/admin,".encode(), "43\u0663[]".encode()),
        *(
            b"43" + b"1" * 17 + b"[]",
            b"40x",
            b"40/a\x1eb,",
            b"41/a\nb,",
            b"40/a\x00",
            b"40 /admin,",
            b"437-[]",
        ),
    ],
)
def test_headers_that_other_parsers_read_differently_are_refused(packet: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        socketio.parse_header(packet)
    assert caught.value.reason is BAD_SOCKETIO_PACKET


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"41", ("/", None)),
        (b"41/ns,", ("/ns", None)),
        (b'41{"close":true}', ("/", True)),
        (b'41/ns,{"close":false}', ("/ns", False)),
        *((payload, None) for payload in (b"411", b"41x", b"41\x1e41", b'41"x"', b"40", b"41{", b"41/\xff,")),
    ],
)
def test_a_lone_disconnect(payload: bytes, expected: tuple[str, bool | None] | None) -> None:
    assert socketio.goodbye(payload) == expected


@pytest.mark.parametrize("body", [b'{"a":1}', b"[]", b'"text"', b"true", b"false", b"null", b""])
def test_any_json_value_except_a_number_may_follow(body: bytes) -> None:
    packet = b"40/n," + body
    assert packet[socketio.parse_header(packet).body :] == body


def test_the_longest_namespace() -> None:
    name = "/" + "n" * (socketio.MAX_NAMESPACE - 1)
    assert socketio.parse_header(b"40%b," % name.encode()).namespace == name


def test_a_namespace_must_be_utf8() -> None:
    with pytest.raises(PeerError) as caught:
        socketio.parse_header(b"40/\xff,")
    assert caught.value.reason is BAD_UTF8


NAMESPACES = st.text(
    st.characters(codec="utf-8", exclude_characters=",", min_codepoint=0x20), max_size=100
).map("/".__add__)
DATA: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(), st.text(st.characters(codec="utf-8"), max_size=20), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    kind=st.sampled_from([socketio.EVENT, socketio.ACK]),
    namespace=NAMESPACES,
    ack_id=st.none() | st.integers(0, 2**53),
    data=st.lists(DATA, max_size=4),
    ours=st.integers(0, 2**31),
)
def test_packets_of_another_encoder(
    kind: int, namespace: str, ack_id: int | None, data: list[Any], ours: int
) -> None:
    parts = Packet(packet_type=kind, data=["event", *data], namespace=namespace, id=ack_id).encode()
    attachments = len(parts) - 1 if isinstance(parts, list) else 0
    packet = b"4" + (parts[0] if isinstance(parts, list) else parts).encode()
    header = socketio.parse_header(packet)
    assert header.attachments == attachments
    assert header.type == (kind + 3 if attachments else kind)
    assert header.namespace == namespace
    assert header.id == ack_id
    assert json.loads(packet[header.body :])[0] == "event"

    changed = socketio.with_ack_id(packet, header, ours)
    again = socketio.parse_header(changed)
    assert again.id == ours
    assert (again.type, again.attachments, again.namespace) == header[:3]
    assert changed[again.body :] == packet[header.body :]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b'42["q"]', b'4277["q"]'),
        (b'42/ns,["q"]', b'42/ns,77["q"]'),
        (b'451-["q"]', b'451-77["q"]'),
        (b'4512-/ns,["q"]', b'4512-/ns,77["q"]'),
        (b'42/ns,5["q"]', b'42/ns,77["q"]'),
        (b'425["q"]', b'4277["q"]'),
    ],
)
def test_the_ack_id_is_inserted_after_the_namespace(packet: bytes, expected: bytes) -> None:
    assert socketio.with_ack_id(packet, socketio.parse_header(packet), 77) == expected


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(b"4".__add__)))
def test_any_bytes_are_handled_or_refused(packet: bytes) -> None:
    try:
        header = socketio.parse_header(packet)
    except PeerError as error:
        assert error.reason in (BAD_SOCKETIO_PACKET, BAD_UTF8)
        return
    assert 0 <= header.type <= 6
    assert header.namespace.startswith("/")
    assert 0 < header.id_at <= header.body <= len(packet)
    socketio.connected_sid(packet, header)
    socketio.closes_engine(packet, header)


@pytest.mark.parametrize("packet", [b"40/", b"451-/", b"42/", b"43/,1"])
def test_huge_packets_are_parsed_in_linear_time(packet: bytes) -> None:
    # A backtracking match would exceed the time limit of the suite.
    for filling in (b"1", b"-", b"/", b"1-/", b"\xff"):
        huge = packet + filling * (4_000_000 // len(filling))
        try:
            assert socketio.parse_header(huge).body <= len(huge)
        except PeerError as error:
            assert error.reason is BAD_SOCKETIO_PACKET


@pytest.mark.parametrize(
    ("namespace", "packet"), [("/", b"41"), ("/ns", b"41/ns,"), ("/é", "41/é,".encode())]
)
def test_disconnect_packets(namespace: str, packet: bytes) -> None:
    assert socketio.disconnect_packet(namespace) == packet
    header = socketio.parse_header(packet)
    assert (header.type, header.namespace) == (socketio.DISCONNECT, namespace)
    assert socketio.closes_engine(packet, header) is None


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b'40{"sid":"abc"}', "abc"),
        (b'40/ns,{"sid":"abc","pid":"x"}', "abc"),
        (b"40", None),
        (b"40{}", None),
        (b'40{"sid":""}', None),
        (b'40{"sid":7}', None),
        (b'40["sid"]', None),
        (b'40{"sid":"a"', None),
        (b'40{"sid":"\\ud800"}', None),
        (b"40" + b"[" * 100_000, None),
    ],
)
def test_socket_ids_in_connect_answers(packet: bytes, expected: str | None) -> None:
    assert socketio.connected_sid(packet, socketio.parse_header(packet)) == expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"41", None),
        (b"41/ns,", None),
        (b'41{"close":true}', True),
        (b'41/ns,{"close":true}', True),
        (b'41{"close":false}', False),
        (b'41/ns,{"close":false}', False),
        (b"41{}", False),
        (b"41[]", None),
        (b"41{", None),
        (b"41" + b"[" * 100_000, None),
    ],
)
def test_the_close_member_of_disconnects(packet: bytes, expected: bool | None) -> None:
    assert socketio.closes_engine(packet, socketio.parse_header(packet)) is expected


def test_a_payload_of_very_many_packets_is_no_emit() -> None:
    assert socketio.is_emit(b"\x1e".join([b"42[1]"] * 9_999))
    assert not socketio.is_emit(b"\x1e".join([b"42[1]"] * 10_001))


def test_an_ack_with_attachments_whose_json_only_msgspec_reads_is_refused() -> None:
    # Numbers of thousands of digits: Python's parser refuses to convert them.
    packet = b'461-7[{"_placeholder":true,"num":0},' + b"9" * 5_000 + b"]"
    with pytest.raises(PeerError) as caught:
        socketio.readable_ack(packet, socketio.parse_header(packet))
    assert caught.value.reason is BAD_SOCKETIO_PACKET
