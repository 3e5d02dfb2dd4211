"""Packets as bytes: on the quick way, through the library, and what cannot be sent."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
import socketio.packet

from moorage.sdk.errors import NotSerialisable, UsageError
from moorage.sdk.payload import RS, Codec, binary, explain, has_binary, join


class Custom(socketio.packet.Packet):  # type: ignore[misc]
    """A packet class of the developer's own, whose JSON knows dates."""

    class json:
        """A JSON module."""

        @staticmethod
        def dumps(value: Any, **options: Any) -> str:
            """Dates as text."""
            return json.dumps(value, default=str, **options)

        loads = staticmethod(json.loads)


@pytest.fixture
def codec() -> Codec:
    return Codec(socketio.packet.Packet)


def both(payload: bytes) -> Any:
    """What the library's own decoder makes of a payload."""
    head, *attachments = payload.split(RS)
    packet = socketio.packet.Packet(encoded_packet=head[1:].decode())
    for attachment in attachments:
        packet.add_attachment(binary(attachment))
    return packet.packet_type, packet.namespace or "/", packet.id, packet.data


@pytest.mark.parametrize("namespace", ["/", "/chat"])
@pytest.mark.parametrize("ack_id", [None, 0, 12])
@pytest.mark.parametrize(
    "data",
    [
        ["e"],
        ["e", 1, "é", None, True, 1.5, {"a": [1, {"b": "c"}]}],
        ["e", {1: "a", None: "b", 2.5: "c", False: "d"}],
        ["e", 2**80, -(2**70)],
        ["e", "\ud800"],
        ["e", b"\x00\xff", {"in": bytearray(b"x"), "deep": [b""]}],
        ["e", (1, (2, 3))],
    ],
)
def test_as_the_library_has_it(codec: Codec, namespace: str, ack_id: int | None, data: list[Any]) -> None:
    ours = both(codec.event(namespace, data, ack_id))
    packet = socketio.packet.Packet(2, namespace=namespace, data=data, id=ack_id).encode()
    assert ours == both(join(packet if isinstance(packet, list) else [packet]))


def test_the_bytes(codec: Codec) -> None:
    assert codec.event("/", ["e", {"a": 1}]) == b'42["e",{"a":1}]'
    assert codec.event("/", ["e"], 7) == b'427["e"]'
    assert codec.event("/a", ["e"]) == b'42/a,["e"]'
    assert codec.ack("/a", 0, []) == b"43/a,0[]"
    assert codec.event("/", ["e", b"\x01"]) == b'451-["e",{"_placeholder":true,"num":0}]\x1ebAQ=='


def test_not_a_number_is_null(codec: Codec) -> None:
    """As JavaScript has it. The library writes `NaN`, which no browser reads."""
    assert codec.event("/", ["e", float("nan"), float("inf")]) == b'42["e",null,null]'


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"user": {"born": datetime.datetime(2020, 1, 1)}}, "args[1].user.born", "datetime is not"),
        ({"list": [1, {"x y": {1}}]}, "args[1].list[1]['x y']", "set is not"),
        (object(), "args[1]", "object is not"),
        (decimal.Decimal(1), "args[1]", "Decimal is not"),
        ({(1, 2): 3}, "args[1]", "a key of type tuple"),
        (({"a": b"x"},), "args[1][0].a", "bytes is not JSON serialisable here"),
    ],
)
def test_what_cannot_be_sent_is_named(codec: Codec, value: Any, path: str, problem: str) -> None:
    with pytest.raises(NotSerialisable) as caught:
        codec.event("/", ["e", "fine", value])
    assert caught.value.path == path
    assert problem in str(caught.value)
    with pytest.raises(NotSerialisable, match=r"args\[1\]"):
        codec.ack("/", 1, ["fine", value])


def test_a_loop_is_named(codec: Codec) -> None:
    loop: list[Any] = []
    loop.append({"again": loop})
    with pytest.raises(NotSerialisable, match=r"args\[0\]\[0\]\.again: it contains itself"):
        codec.event("/", ["e", loop])


def test_the_same_value_twice_is_no_loop() -> None:
    shared = [1]
    assert explain(["e", [shared, shared], object()], first=1).path == "args[1]"


def test_an_event_without_a_name(codec: Codec) -> None:
    with pytest.raises(NotSerialisable, match="the event's name"):
        codec.event("/", [object()])


def test_kinds_that_orjson_alone_knows(codec: Codec) -> None:
    class Colour(enum.Enum):
        RED = "red"

    one = uuid.uuid4()
    assert codec.event("/", ["e", Colour.RED, one]) == f'42["e","red","{one}"]'.encode()


def test_a_packet_class_of_the_developers_own() -> None:
    own = Codec(Custom)
    assert not own.plain
    assert own.event("/", ["e", datetime.date(2020, 1, 2)]) == b'42["e","2020-01-02"]'
    assert own.event("/", ["e", b"\x01"], 3) == b'451-3["e",{"_placeholder":true,"num":0}]\x1ebAQ=='
    assert own.loads(b'{"a":1}') == {"a": 1}


def test_a_json_module_of_the_developers_own(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketio.packet.Packet, "json", Custom.json)
    assert codec.event("/a", ["e", datetime.date(2020, 1, 2)]) == b'42/a,["e","2020-01-02"]'
    assert codec.event("/", ["e", {"in": b"\x01"}]).startswith(b'451-["e",{"in":{"_placeholder"')


def test_other_serializers_are_refused() -> None:
    class Binary(socketio.packet.Packet):  # type: ignore[misc]
        """As the library's MessagePack packets are."""

        uses_binary_events = False

    with pytest.raises(UsageError, match="serializer"):
        Codec(Binary)


def test_reading(codec: Codec) -> None:
    assert codec.loads(b'["e",123456789012345678901234567890]') == ["e", 123456789012345678901234567890]
    assert codec.loads(memoryview(b'x["\\ud800"]')[1:]) == ["\ud800"]
    for wrong in (b"", b"{", b"\xff", b"1" * 5000, b"[" * 5000):
        with pytest.raises(ValueError, match=r"."):
            codec.loads(wrong)


def test_arguments(codec: Codec) -> None:
    assert codec.arguments(b'431["a",{"b":2}]') == ["a", {"b": 2}]
    assert codec.arguments(b'461-1[{"_placeholder":true,"num":0}]\x1ebAQ') == [b"\x01"], "without padding"
    for wrong in (
        b'431{"a":1}',
        b'43["a"',
        b"43" + b"[" * 5000,
        b'461-1[{"_placeholder":true,"num":1}]\x1ebAQ==',
        b'461-1[{"_placeholder":true,"num":"x"}]\x1ebAQ==',
        b'461-1[{"_placeholder":true,"num":0}]\x1eb!',
        b"43[1]\x1eAQ==",
    ):
        with pytest.raises(ValueError, match=r"."):
            codec.arguments(wrong)


def test_has_binary() -> None:
    assert has_binary(["e", {"a": [b"x"]}])
    assert not has_binary(["e", {"a": ["x", 1, None]}, (b"x",)]), "nor does the library look into tuples"
