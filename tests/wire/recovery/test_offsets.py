"""Offsets in events, and the `pid` in CONNECT packets and their answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from moorage.wire.engineio import RS, encode_binary
from moorage.wire.recovery.offsets import (
    Offset,
    Part,
    Return,
    make_offset,
    parse_offset,
    parts_of,
    returning,
    with_offset,
    with_pid,
)
from moorage.wire.socketio import parse_header

EPOCHS = st.text("abcXYZ019-_", min_size=1, max_size=64)
POSITIONS = st.integers(0, 2**52 - 1)
NAMESPACES = st.sampled_from(["/", "/ns", "/a?b=c", "/é", '/"x"'])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3),
    max_leaves=10,
)
SPACE = st.text(" \t\r\n", max_size=3)


def encoded(namespace: str, data: str, ack_id: int | None, files: list[bytes]) -> bytes:
    """An event, as any server may write it."""
    head = f"45{len(files)}-" if files else "42"
    head += "" if namespace == "/" else f"{namespace},"
    head += "" if ack_id is None else str(ack_id)
    return RS.join([(head + data).encode(), *map(encode_binary, files)])


def read(event: bytes) -> Any:
    """The data of an event, as python-socketio reads it."""
    first, *files = event.split(RS)
    packet = Packet(encoded_packet=first[1:].decode())
    for file in files:
        packet.add_attachment(base64.b64decode(file[1:]))
    return packet.data


@given(
    st.text(min_size=1, max_size=10), st.lists(JSON, max_size=4), NAMESPACES,
    st.lists(st.binary(), max_size=2), st.booleans(), SPACE, SPACE, EPOCHS, POSITIONS,
)  # fmt: skip
def test_any_event_gets_the_offset_as_its_last_argument(
    name: str, args: list[Any], namespace: str, files: list[bytes], ascii: bool, before: str, after: str,
    epoch: str, position: int,
) -> None:  # fmt: skip
    holes = [{"_placeholder": True, "num": number} for number in range(len(files))]
    text = json.dumps([name, *args, *holes], ensure_ascii=ascii)
    event = encoded(namespace, f"{text[:-1]}{before}]{after}", None, files)
    assert parts_of(event) == [Part(event, namespace)]
    offset = make_offset(epoch, position)
    changed = with_offset(event, offset)
    assert read(changed) == [name, *args, *files, offset.decode()]
    assert parts_of(changed) == [Part(changed, namespace)]
    assert parse_offset(offset.decode()) == Offset(epoch, position)


@pytest.mark.parametrize(
    "packet",
    [
        b"42[]",
        b"42[ ]",
        b"42/ns,[]",
        b"42",
        b'42"text"',
        b'42{"a":1}',
        b'42["a"',
        b'42["a",}]',
        b'42/ns,["a"',
        b"42[" * 5_000,
        b"42/ns," + b"[" * 20_000,
        b"4299999999999999999999[1]",
        b"43[1]",
        b"461-1[1]",
        b'40{"sid":"a"}',
        b"41",
        b"2",
        b"",
        b"42/\xff,[1]",
    ],
)
def test_what_no_client_counts(packet: bytes) -> None:
    assert parts_of(packet) == [Part(packet)]


def test_text_that_one_parser_refuses_is_an_event_too() -> None:
    event = b'42["half \\ud83d","x"]'
    assert parts_of(event) == [Part(event, "/")]
    assert with_offset(event, b"e.1") == b'42["half \\ud83d","x","e.1"]'
    assert parts_of(b'42{"half":"\\ud83d"}') == [Part(b'42{"half":"\\ud83d"}')]


def test_an_event_with_an_ack_id() -> None:
    assert parts_of(b'427["a"]') == [Part(b'427["a"]', "/", 7)]
    assert parts_of(b'452-/ns,12["a"]\x1ebAA==\x1ebAQ==')[0][1:] == ("/ns", 12)


def test_a_payload_of_several_packets() -> None:
    payload = b'42["a"]\x1e451-["b",{"_placeholder":true,"num":0}]\x1ebAA==\x1e43/ns,1[]\x1e42/ns,1["c"]'
    assert parts_of(payload) == [
        Part(b'42["a"]', "/"),
        Part(b'451-["b",{"_placeholder":true,"num":0}]\x1ebAA==', "/"),
        Part(b"43/ns,1[]"),
        Part(b'42/ns,1["c"]', "/ns", 1),
    ]
    assert parts_of(b"bAA==\x1e42[1]") == [Part(b"bAA=="), Part(b"42[1]", "/")]


@given(st.binary(max_size=60) | st.text('42[]/,\x1eb01"a{}-', max_size=40).map(str.encode))
def test_any_bytes_are_parts(payload: bytes) -> None:
    parts = parts_of(payload)
    assert RS.join(part.packets for part in parts) == payload
    for part in parts:
        if part.namespace:
            assert with_offset(part.packets, b"e.1").count(b',"e.1"]') >= 1


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a.", ".1", "a.G", "a.-1", "a.0x1", "a. 1", "a.1 ", "a.1\n", "a.1.2", "a b.1", "a.1_0",
        "a.+1", "é.1", "a.١", "a" * 65 + ".1", "a." + "f" * 14, "1", "\0.1",
    ],
)  # fmt: skip
def test_other_text_is_no_offset(text: str) -> None:
    assert parse_offset(text) is None


@given(st.text(max_size=30))
def test_any_text_is_an_offset_or_not(text: str) -> None:
    found = parse_offset(text)
    assert found is None or parse_offset(make_offset(*found).decode()) == found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"pid":"p","offset":"o","token":1}', Return("p", "o")),
        ('{"pid":"p"}', Return("p", None)),
        ('{"pid":"p","offset":null}', Return("p", None)),
        ('{"pid":"p","offset":7}', Return("p", "")),
        ('{"pid":"p","offset":["o"]}', Return("p", "")),
        ('{"pid":""}', None),
        ('{"pid":7}', None),
        ('{"pid":null,"offset":"o"}', None),
        ("{}", None),
        ('"pid"', None),
        ("", None),
        ('{"pid":"\\ud83d"}', None),
    ],
)
def test_what_a_client_sends_that_comes_back(data: str, expected: Return | None) -> None:
    for prefix in ("40", "40/ns,"):
        packet = (prefix + data).encode()
        assert returning(packet, parse_header(packet)) == expected


@pytest.mark.parametrize("prefix", [b"40", b"40/ns,"])
def test_the_answer_to_a_connect(prefix: bytes) -> None:
    for data in (b'{"sid":"s"}', b'{"sid":"s","pid":"native"}'):
        packet = prefix + data
        assert with_pid(packet, parse_header(packet), "p") == prefix + b'{"sid":"s","pid":"p"}'
