"""Frames of the azure link, checked with a general MessagePack decoder and with invalid input."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.azure import tunnel_frames
from moorage.wire.azure.tunnel_frames import Request, Response
from moorage.wire.errors import PeerError
from moorage.wire.reasons import LINK_BAD_FRAME

SIZES = [0, 1, 31, 32, 255, 256, 0xFFFF, 0x10000]


def parts(frame: bytes) -> list[Any]:
    """A frame as an independent decoder returns it."""
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    found = msgspec.msgpack.decode(frame[4:])
    assert isinstance(found, list)
    return found


def refused(data: bytes) -> bool:
    """True if `data` is refused as a frame."""
    try:
        tunnel_frames.decode(data)
    except PeerError as error:
        assert error.reason is LINK_BAD_FRAME
        return True
    return False


@pytest.mark.parametrize("text_size", SIZES)
@pytest.mark.parametrize("size", [None, *SIZES])
def test_all_header_sizes(text_size: int, size: int | None) -> None:
    text = b"t" * text_size
    content = None if size is None else b"\xff" * size
    assert parts(tunnel_frames.encode(3, text, content)) == [3, text.decode(), content]


NAMES = st.text(max_size=10)
REQUESTS = st.fixed_dictionaries(
    {
        "AckId": st.integers(0, 2**53),
        "HttpMethod": st.sampled_from(["GET", "POST", "DELETE"]),
        "Url": st.text(st.characters(codec="utf-8"), max_size=50),
    },
    optional={
        "Headers": st.none() | st.dictionaries(NAMES, NAMES | st.lists(NAMES, max_size=2)),
        "Type": st.just(1),
        "Unknown": st.none() | st.integers(0, 5) | st.lists(st.text(max_size=3), max_size=2),
    },
)


@given(REQUESTS, st.none() | st.binary(max_size=100))
def test_requests(fields: dict[str, Any], content: bytes | None) -> None:
    text = json.dumps(fields).encode()
    frame, found = tunnel_frames.decode(tunnel_frames.encode(tunnel_frames.REQUEST, text, content))
    assert isinstance(frame, Request)
    assert (frame.ack_id, frame.http_method, frame.url) == (
        fields["AckId"],
        fields["HttpMethod"],
        fields["Url"],
    )
    assert frame.headers == fields.get("Headers")
    assert found == (content or b"")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"Accept": "x"}, ""),
        ({"Content-Type": "text/plain"}, "text/plain"),
        ({"content-type": ["Application/JSON", "x"]}, "application/json"),
        ({"CONTENT-TYPE": []}, ""),
    ],
)
def test_the_content_type(headers: dict[str, str | list[str]] | None, expected: str) -> None:
    assert Request(ack_id=1, http_method="POST", url="/", headers=headers).content_type() == expected


@pytest.mark.parametrize(("more", "content"), [(False, None), (True, b"line\n"), (False, b"")])
def test_responses_go_both_ways(more: bool, content: bytes | None) -> None:
    frame = tunnel_frames.response(7, 202, more=more, content=content)
    kind, text, found = parts(frame)
    assert kind == tunnel_frames.RESPONSE
    assert json.loads(text) == {
        "Type": 2,
        "AckId": 7,
        "StatusCode": 202,
        "Headers": {},
        "NotCompleted": more,
    }
    assert found == content
    decoded, body = tunnel_frames.decode(frame)
    assert decoded == Response(ack_id=7, status_code=202, not_completed=more)
    assert body == (content or b"")


def test_responses_with_one_status_differ_in_their_ack_id_only() -> None:
    for ack_id in (11, 22, 333):
        decoded, _ = tunnel_frames.decode(tunnel_frames.response(ack_id, 204))
        assert decoded == Response(ack_id=ack_id, status_code=204, not_completed=False)


def test_a_response_without_not_completed_is_the_last() -> None:
    frame, _ = tunnel_frames.decode(tunnel_frames.encode(2, b'{"AckId":1,"StatusCode":200}'))
    assert isinstance(frame, Response)
    assert not frame.not_completed


def test_the_greeting() -> None:
    kind, text, content = parts(tunnel_frames.connected('c"1', "sérver"))
    assert (kind, content) == (tunnel_frames.CONNECTED, None)
    assert json.loads(text) == {
        "Type": 10,
        "ConnectionId": 'c"1',
        "UserId": "sérver",
        "ReconnectionToken": None,
    }


def test_frames_of_other_types_are_ignored() -> None:
    assert tunnel_frames.decode(tunnel_frames.KEEPALIVE) == (None, b"")
    assert tunnel_frames.decode(tunnel_frames.connected("c", "s")) == (None, b"")
    assert tunnel_frames.decode(tunnel_frames.encode(99, b"not even JSON", b"x")) == (None, b"")


WHOLE = tunnel_frames.encode(1, b'{"AckId":1,"HttpMethod":"POST","Url":"/"}', b"body")


def test_a_partial_frame_is_refused() -> None:
    assert not refused(WHOLE)
    for cut in range(len(WHOLE)):
        assert refused(WHOLE[:cut])
    assert refused(WHOLE + b"\x00")
    assert refused(WHOLE + WHOLE)
    # Trailing data that the length includes is also refused.
    assert refused((len(WHOLE) - 3).to_bytes(4, "little") + WHOLE[4:] + b"\xc0")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"AckId":1}',
        b'{"AckId":"1","HttpMethod":"GET","Url":"/"}',
        b'{"AckId":1.5,"HttpMethod":"GET","Url":"/"}',
        b'{"AckId":' + b"9" * 5_000 + b',"HttpMethod":"GET","Url":"/"}',
        b'{"AckId":1,"HttpMethod":"GET","Url":"/","Headers":[]}',
        b'{"AckId":1,"HttpMethod":"GET","Url":"/","Headers":{"a":1}}',
        b'{"AckId":1,"HttpMethod":"\\ud800","Url":"/"}',
        b'{"AckId":1,"X":' + b"[" * 100_000 + b',"HttpMethod":"GET","Url":"/"}',
    ],
)
def test_invalid_requests_are_refused(text: bytes) -> None:
    assert refused(tunnel_frames.encode(tunnel_frames.REQUEST, text))


@given(st.binary(max_size=100))
def test_any_bytes_are_handled_or_refused(data: bytes) -> None:
    refused(data)
    refused(len(data).to_bytes(4, "little") + data)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_any_changed_frame_is_decoded_or_refused(at: int, byte: int) -> None:
    refused(WHOLE[:at] + bytes((byte,)) + WHOLE[at + 1 :])


@given(st.sampled_from([1, 2]), st.binary(max_size=60), st.none() | st.binary(max_size=10))
def test_any_text_is_handled_or_refused(kind: int, text: bytes, content: bytes | None) -> None:
    refused(tunnel_frames.encode(kind, text, content))
