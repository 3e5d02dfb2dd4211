"""A client's Socket.IO packets: which are passed on, kept, or end the connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.engine.peer import (
    CONNECTING,
    FIRST_SERVICE_ACK,
    HELD_BYTES,
    LAST_SERVICE_ACK,
    Answer,
    Connect,
    Forward,
    Left,
    SocketPeer,
)
from moorage.wire.engineio import encode_binary
from moorage.wire.errors import PeerError
from moorage.wire.reasons import (
    BAD_SOCKETIO_PACKET,
    BAD_UTF8,
    DUPLICATE_CONNECT,
    MISSING_ATTACHMENT,
    TOO_MANY_ATTACHMENTS,
    TOO_MANY_NAMESPACES,
    UNEXPECTED_BINARY,
    Reason,
)
from moorage.wire.socketio import parse_header


def new_peer(max_attachments: int = 10, max_namespaces: int = 3) -> SocketPeer:
    """A peer with small limits."""
    return SocketPeer(max_attachments, max_namespaces)


def refusal(peer: SocketPeer, packet: bytes) -> Reason:
    """The reason for which `packet` ends the connection."""
    with pytest.raises(PeerError) as caught:
        peer.message(packet)
    return caught.value.reason


@pytest.mark.parametrize(
    "packet",
    [b'42["a"]', b'42/ns,5["a"]', b"42", b"42broken", b"43[]", b'437["x"]', b'43/ns,0["x"]', b"450-[]"],
)
def test_packets_for_the_app_are_passed_on_unchanged(packet: bytes) -> None:
    event = new_peer().message(packet)
    assert event == Forward(packet)
    assert isinstance(event, Forward)
    assert event.packet is packet


def test_a_namespace_is_connected_and_left() -> None:
    peer = new_peer()
    packet = b'40/ns,{"token":"x"}'
    assert peer.message(packet) == Connect(packet, parse_header(packet))
    assert peer.namespaces == {"/ns": CONNECTING}
    peer.connected("/ns", "s1")
    assert peer.namespaces == {"/ns": "s1"}
    assert peer.message(b"41/ns,") == Left(b"41/ns,", "/ns", True)
    assert peer.namespaces == {}
    # It may be connected again.
    assert isinstance(peer.message(b"40/ns,"), Connect)


def test_leaving_before_the_answer_and_leaving_twice() -> None:
    peer = new_peer()
    peer.message(b"40")
    assert peer.message(b"41") == Left(b"41", "/", False)
    assert peer.message(b"41") is None, "the other side may have left first"
    assert peer.left("/") is None


def test_the_app_side_ends_a_namespace() -> None:
    peer = new_peer()
    peer.message(b"40")
    assert peer.left("/") == CONNECTING
    peer.message(b"40")
    peer.connected("/", "s1")
    assert peer.left("/") == "s1"
    assert peer.namespaces == {}


@pytest.mark.parametrize("answered", [False, True])
def test_a_namespace_cannot_be_connected_twice(answered: bool) -> None:
    peer = new_peer()
    peer.message(b"40/ns,")
    if answered:
        peer.connected("/ns", "s1")
    assert refusal(peer, b"40/ns,") is DUPLICATE_CONNECT
    # The main namespace has two spellings.
    peer.message(b"40")
    assert refusal(peer, b"40/,") is DUPLICATE_CONNECT


def test_the_number_of_namespaces_is_bounded() -> None:
    peer = new_peer(max_namespaces=2)
    peer.message(b"40/a,")
    peer.message(b"40/b,")
    assert refusal(peer, b"40/c,") is TOO_MANY_NAMESPACES
    peer.message(b"41/a,")
    assert isinstance(peer.message(b"40/c,"), Connect)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"4", BAD_SOCKETIO_PACKET),
        (b"47", BAD_SOCKETIO_PACKET),
        (b'44{"message":"x"}', BAD_SOCKETIO_PACKET),
        (b"45[]", BAD_SOCKETIO_PACKET),
        (b"40/\xff,", BAD_UTF8),
        (b"4511-[]", TOO_MANY_ATTACHMENTS),
        (b"4699999-[]", TOO_MANY_ATTACHMENTS),
        (b"4611-%d[]" % FIRST_SERVICE_ACK, TOO_MANY_ATTACHMENTS),
    ],
)
def test_broken_packets(packet: bytes, reason: Reason) -> None:
    assert refusal(new_peer(), packet) is reason


@pytest.mark.parametrize("head", [b"452-[]", b"462-7[]"])
def test_attachments_are_counted_and_passed_on_with_their_packet(head: bytes) -> None:
    peer = new_peer()
    assert peer.message(head) is None
    assert peer.binary(b"one") is None
    assert refusal(peer, b"42[]") is MISSING_ATTACHMENT
    assert peer.binary(b"") == Forward(b"\x1e".join((head, b"bb25l", b"b")))
    assert peer.message(b"42[]") == Forward(b"42[]")
    with pytest.raises(PeerError) as caught:
        peer.binary(b"three")
    assert caught.value.reason is UNEXPECTED_BINARY


@pytest.mark.parametrize("ack_id", [FIRST_SERVICE_ACK, FIRST_SERVICE_ACK + 5, LAST_SERVICE_ACK, 2**52])
def test_answers_to_the_services_own_acks(ack_id: int) -> None:
    peer = new_peer()
    for packet in (b'43%d["x"]' % ack_id, b'43/ns,%d["x"]' % ack_id):
        assert peer.message(packet) == Answer(ack_id, packet)


@pytest.mark.parametrize("packet", [b"43%d[]", b"43/ns,%d[]", b"460-%d[]"])
def test_answers_to_the_apps_acks(packet: bytes) -> None:
    packet %= FIRST_SERVICE_ACK - 1
    assert new_peer().message(packet) == Forward(packet)


@pytest.mark.parametrize(
    "number", [b"", b"0", b"7", b"007", b"1073741824", b"9" * 16, b"9" * 17, b"-1", b" 1"]
)
@pytest.mark.parametrize("data", [b"", b"[]", b'["[1]"]', b"[", b"{}", b"[1]]", b"null[1]"])
def test_an_ack_in_the_usual_form_means_the_same_if_its_header_is_parsed(number: bytes, data: bytes) -> None:
    def outcome(peer: SocketPeer) -> object:
        try:
            return peer.message(b"43" + number + data)
        except PeerError as error:
            return error.reason

    parsing = new_peer()
    parsing.acknowledged = {}
    assert outcome(new_peer()) == outcome(parsing)


def test_an_event_with_a_high_ack_id_is_still_an_event() -> None:
    for packet in (b'42%d["x"]' % FIRST_SERVICE_ACK, b'450-%d["x"]' % FIRST_SERVICE_ACK):
        assert new_peer().message(packet) == Forward(packet)


def test_a_binary_answer_is_complete_or_dropped() -> None:
    peer = new_peer()
    head = b'462-/ns,%d["x"]' % FIRST_SERVICE_ACK
    assert peer.message(head) is None
    assert peer.binary(b"one") is None
    assert peer.binary(b"two") == Answer(FIRST_SERVICE_ACK, b"\x1e".join((head, b"bb25l", b"bdHdv")))
    # The next binary packet is for the app again.
    assert peer.message(b"451-[]") is None
    assert peer.binary(b"x") == Forward(b"451-[]\x1ebeA==")


@pytest.mark.repair(1)
def test_an_answer_without_data_has_no_arguments() -> None:
    peer = new_peer()
    for packet in (b"43%d", b"43/ns,%d"):
        packet %= FIRST_SERVICE_ACK
        assert peer.message(packet) == Answer(FIRST_SERVICE_ACK, packet + b"[]")
    assert peer.message(b"461-%d" % FIRST_SERVICE_ACK) is None
    assert peer.binary(b"x") == Answer(FIRST_SERVICE_ACK, b"461-%d[]\x1ebeA==" % FIRST_SERVICE_ACK)


@pytest.mark.repair(1)
@pytest.mark.parametrize(
    "packet",
    [
        *(b"43%d" + data for data in (b"{}", b'"x"', b"null", b"[", b"[1]x", b"[NaN]", b"\x00")),
        *(b"43%d" + data for data in (b"-5[]", b" x")),
        b"43%d" + b"[" * 100_000,
        b"43%d" + b"[" * 100_000 + b"]" * 100_000,
        b"43/ns,%dnothing",
        b"460-%d[]",
        b'461-%d[{"_placeholder":true,"num":1}]',
        b'461-%d[{"_placeholder":true,"num":-1}]',
        b'461-%d[{"_placeholder":true,"num":0.5}]',
        b'461-%d[{"_placeholder":true,"num":true}]',
        b'461-%d[{"_placeholder":true}]',
        b'461-%d[[{"a":{"_placeholder":1,"num":"0"}}]]',
        b"461-%d{}",
    ],
)
def test_an_unreadable_answer_ends_its_client(packet: bytes) -> None:
    assert refusal(new_peer(), packet.replace(b"%d", b"%d" % FIRST_SERVICE_ACK)) is BAD_SOCKETIO_PACKET


@pytest.mark.repair(1)
@pytest.mark.parametrize(
    "packet",
    [
        b'43%d["\\ud83d"]',
        b'43%d[1, {"_placeholder": true, "num": 9}]',
        b'461-%d[{"_placeholder":true,"num":0},{"_placeholder":false}]',
    ],
)
def test_an_unusual_readable_answer_is_passed_on(packet: bytes) -> None:
    packet = packet.replace(b"%d", b"%d" % FIRST_SERVICE_ACK)
    peer = new_peer()
    event = peer.message(packet) or peer.binary(b"x")
    assert isinstance(event, Answer)
    assert event.payload.startswith(packet)


@pytest.mark.repair(1)
@pytest.mark.parametrize("data", [b"{", b"x", b"[NaN]", b"[" * 5_000 + b"]" * 5_000])
def test_connect_data_that_is_not_json_is_refused(data: bytes) -> None:
    peer = new_peer()
    assert refusal(peer, b"40/ns," + data) is BAD_SOCKETIO_PACKET
    assert not peer.namespaces


@pytest.mark.repair(21)
def test_a_query_is_dropped_if_the_answer_has_none() -> None:
    peer = new_peer(max_namespaces=2)
    for _ in range(3):
        assert isinstance(peer.message(b"40/ns?token=x,"), Connect)
        peer.connected("/ns", "s1")
        assert peer.namespaces == {"/ns": "s1"}
        assert peer.message(b"41/ns?token=x,") == Left(b"41/ns?token=x,", "/ns", was_connected=True)
    assert isinstance(peer.message(b"40/ns?token=x,"), Connect)
    assert peer.left("/ns") is None, "refused under the bare name"
    assert peer.namespaces == {}
    peer.message(b"40/ns,")
    assert refusal(peer, b"40/ns?token=x,") is DUPLICATE_CONNECT


@pytest.mark.repair(21)
def test_an_answer_without_a_query_leaves_other_namespaces_alone() -> None:
    peer = new_peer()
    for packet in (b"40/other,", b"40/third?token=x,", b"40/ns?token=x,"):
        peer.message(packet)
    peer.connected("/other", "s1")
    peer.connected("/ns", "s2")
    assert peer.left("/unknown") is None
    assert list(peer.namespaces) == ["/other", "/third?token=x", "/ns"]


@pytest.mark.repair(21)
def test_a_query_is_kept_if_the_answer_has_it() -> None:
    peer = new_peer()
    peer.message(b"40/ns?token=x,")
    peer.connected("/ns?token=x", "s1")
    assert peer.namespaces == {"/ns?token=x": "s1"}
    assert peer.message(b"41/ns?token=x,") == Left(b"41/ns?token=x,", "/ns?token=x", was_connected=True)


def test_a_large_binary_packet_is_passed_on_in_pieces() -> None:
    peer = new_peer()
    large = bytes(HELD_BYTES * 3 // 8)
    assert peer.message(b"456-[]") is None
    events = [peer.binary(large) for _ in range(6)]
    assert [event is None for event in events] == [True, False, True, False, True, False]
    pieces = [event.packet for event in events if isinstance(event, Forward)]
    assert b"\x1e".join(pieces) == b"\x1e".join((b"456-[]", *[encode_binary(large)] * 6))


def test_a_packet_is_in_pieces_from_its_first_piece_to_its_last() -> None:
    peer = SocketPeer(10, 10)
    large = bytes(HELD_BYTES)
    peer.message(b'453-["e",1,2,3]')
    assert not peer.in_pieces
    states = []
    for data in (large, b"x", large):
        peer.binary(data)
        states.append(peer.in_pieces)
    assert states == [True, True, False]


def test_a_large_binary_answer_is_not_split() -> None:
    peer = new_peer()
    large = bytes(HELD_BYTES)
    assert peer.message(b"462-%d[]" % FIRST_SERVICE_ACK) is None
    assert peer.binary(large) is None
    answer = peer.binary(b"")
    assert isinstance(answer, Answer)
    assert answer.payload.endswith(b"\x1eb")


BINARY = st.lists(st.binary(max_size=4), max_size=3)
MESSAGES = st.tuples(
    st.booleans(), st.sampled_from(["", "/ns,"]), st.integers(0, 5), BINARY
)  # for the service?, namespace, ack id, attachments


@given(st.lists(MESSAGES, max_size=10))
def test_any_mix_of_packets_is_handled_in_order(messages: list[tuple[bool, str, int, list[bytes]]]) -> None:
    peer = new_peer()
    forwarded: list[bytes] = []
    answers: list[Answer] = []
    expected_forwarded: list[bytes] = []
    expected_answers: list[Answer] = []
    for ours, namespace, number, attachments in messages:
        ack_id = number + FIRST_SERVICE_ACK if ours else number
        head = f"46{len(attachments)}-{namespace}{ack_id}[]".encode()
        packets = [head, *map(encode_binary, attachments)]
        if ours and not attachments:
            assert refusal(peer, head) is BAD_SOCKETIO_PACKET
            continue
        if ours:
            expected_answers.append(Answer(ack_id, b"\x1e".join(packets)))
        else:
            expected_forwarded.append(b"\x1e".join(packets))
        for event in (peer.message(head), *map(peer.binary, attachments)):
            if isinstance(event, Forward):
                forwarded.append(event.packet)
            elif isinstance(event, Answer):
                answers.append(event)
    assert forwarded == expected_forwarded
    assert answers == expected_answers


@given(st.lists(st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(b"4".__add__)), max_size=10))
def test_any_bytes_are_handled_or_refused(packets: list[bytes]) -> None:
    peer = new_peer()
    for packet in packets:
        for take in (peer.message, peer.binary):
            try:
                event = take(packet)
            except PeerError as error:
                assert 2000 <= error.reason.number < 2100
            else:
                assert event is None or isinstance(event, Forward | Connect | Left | Answer)
    assert len(peer.namespaces) <= 3


def test_acks_of_the_client_are_told() -> None:
    peer = new_peer()
    told: list[int] = []
    others: list[int] = []
    peer.acknowledged = {"/": told.append, "/ns": others.append}
    peer.message(b"432[]")
    peer.message(b"462-3[]")
    peer.binary(b"x")
    assert told == [2], "the other ack is not complete"
    peer.binary(b"y")
    peer.message(b"43/ns,1[]")
    peer.message(b"43/other,1[]")
    peer.message(b"43[]")
    peer.message(b"451-1[]")
    assert (told, others) == ([2, 3], [1])
