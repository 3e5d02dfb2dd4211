"""What a client's packets mean, and which are an error."""

from __future__ import annotations

import pytest
import socketio.packet

from moorage.sdk.clients.clients import Client
from moorage.sdk.clients.members import Member, Members, Stage
from moorage.sdk.clients.packets import Ack, Connect, Event, Leave, PacketReader, Plan, complete, refusal
from moorage.sdk.payload import Codec
from moorage.wire.errors import PeerError


def client() -> Client:
    return Client(1, "client", "session", {"QUERY_STRING": "transport=websocket"})


@pytest.fixture
def reader() -> PacketReader:
    return PacketReader(Codec(socketio.packet.Packet))


@pytest.mark.parametrize(
    ("packet", "plan"),
    [
        (b'42["a",1]', Event("/", None, ["a", 1])),
        (b'4217["a"]', Event("/", 17, ["a"])),
        (b'42/chat,["a"]', Event("/chat", None, ["a"])),
        (b'42/chat,3["a"]', Event("/chat", 3, ["a"])),
        (b"42[1]", Event("/", None, [1])),
        (b'451-["a",{"_placeholder":true,"num":0}]\x1ebAA==', Event("/", None, ["a", b"\x00"])),
        (b"437[1]", Ack("/", 7, [1])),
        (b'461-2[{"_placeholder":true,"num":0}]\x1ebAA==', Ack("/", 2, [b"\x00"])),
        (b"40", Connect("/", None, "0")),
        (b'40/chat,{"t":1}', Connect("/chat", {"t": 1}, '0/chat,{"t":1}')),
        (b"41", Leave("/")),
        (b"41/chat,", Leave("/chat")),
    ],
)
def test_packets_and_what_they_ask_for(reader: PacketReader, packet: bytes, plan: Plan) -> None:
    assert reader.read(packet) == plan
    assert type(reader.read(packet)) is type(plan)


@pytest.mark.parametrize(
    "packet",
    [
        b"42[]",
        b"42{}",
        b"42[null]",
        b'42["connect"]',
        b'42["disconnect"]',
        b'42["connect_error"]',
        b'42["*"]',
        b'42["a"',
        b'4217{"a":1}',
        b"437{}",
        b"40{",
        b"40\xff",
        b'44{"message":"x"}',
        b"49",
        b"4",
    ],
)
def test_packets_that_break_the_protocol(reader: PacketReader, packet: bytes) -> None:
    with pytest.raises((ValueError, PeerError)):
        reader.read(packet)


def test_an_event_is_complete_with_its_last_attachment_in_whatever_frames_they_come() -> None:
    one = client()
    first = b'452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert list(complete(one, b'42["before"]\x1e' + first)) == [b'42["before"]']
    assert list(complete(one, b"bAA==")) == []
    assert list(complete(one, b'bAQ==\x1e42["after"]')) == [first + b"\x1ebAA==\x1ebAQ==", b'42["after"]']
    assert one.incoming == []


@pytest.mark.parametrize("payloads", [[b"bAA=="], [b'451-["a",{"_placeholder":true,"num":0}]', b'42["b"]']])
def test_attachments_where_none_are_due(payloads: list[bytes]) -> None:
    one = client()
    with pytest.raises(ValueError, match="attachment"):
        for payload in payloads:
            list(complete(one, payload))


def test_a_socket_is_refused_after_a_handler_that_has_not_accepted_it() -> None:
    member = Member("s", "/chat", client(), None)
    Members().add(member)
    assert refusal(None, failed=True, always_connect=True) is None
    assert refusal(member, failed=False, always_connect=False) == '4/chat,{"message":"Unable to connect"}'
    member.stage = Stage.CONNECTED
    assert refusal(member, failed=False, always_connect=True) is None
    assert refusal(member, failed=True, always_connect=False) is None
    assert refusal(member, failed=True, always_connect=True) == "1/chat,"
