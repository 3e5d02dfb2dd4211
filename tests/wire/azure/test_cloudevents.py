"""The events for an app server, decoded from the JSON that its SDK parses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.azure import tunnel_frames
from moorage.wire.azure.cloudevents import EventWriter, connect_answer, connect_body, identity_of
from moorage.wire.azure.tunnel_frames import Request
from moorage.wire.handshake import Handshake, OpenInfo

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def read(frame: bytes) -> tuple[Request, bytes]:
    """An event as a request."""
    request, content = tunnel_frames.decode(frame)
    assert isinstance(request, Request)
    return request, content


@given(hub=TEXTS, connection=TEXTS, user=st.none() | TEXTS, ack_id=st.integers(0, 2**53), content=st.binary())
def test_events(hub: str, connection: str, user: str | None, ack_id: int, content: bytes) -> None:
    writer = EventWriter(hub, "origin.example")
    request, body = read(writer.write("message", ack_id, identity_of(connection, user), content))
    headers = {
        "ce-type": ["azure.webpubsub.user.message"],
        "ce-eventName": ["message"],
        "ce-hub": [hub],
        "ce-awpsversion": ["1.0"],
        "WebHook-Request-Origin": ["origin.example"],
        "Content-Type": ["text/plain"],
        "ce-connectionId": [connection],
    }
    if user is not None:
        headers["ce-userId"] = [user]
    assert request.headers == headers
    assert (request.ack_id, request.http_method) == (ack_id, "POST")
    assert request.url.endswith("/eventhandler/")
    assert body == content


@pytest.mark.parametrize(
    ("name", "kind", "content_type"),
    [
        ("connect", "azure.webpubsub.sys.connect", "application/json"),
        ("message", "azure.webpubsub.user.message", "text/plain"),
        ("disconnected", "azure.webpubsub.sys.disconnected", "application/json"),
    ],
)
def test_kinds_of_events(name: str, kind: str, content_type: str) -> None:
    request, _ = read(EventWriter("h", "o").write(name, 1, identity_of("c", None), b"{}"))
    assert request.headers is not None
    assert request.headers["ce-type"] == [kind]
    assert request.headers["ce-eventName"] == [name]
    assert request.headers["Content-Type"] == [content_type]


def test_all_members_that_the_sdk_reads_are_present() -> None:
    frame = EventWriter("h", "o").write("message", 5, identity_of("c", "u"), b"2")
    size = frame[6]  # the text is between 32 and 65,535 bytes: 0xda and two bytes of length
    assert frame[4:6] == b"\x93\x01"
    assert size == 0xDA
    text = frame[9 : 9 + int.from_bytes(frame[7:9], "big")]
    assert set(json.loads(text)) == {
        "Type",
        "HttpMethod",
        "Url",
        "Headers",
        "LocalRouting",
        "ChannelName",
        "AckId",
    }


def test_the_connect_body() -> None:
    handshake = Handshake(
        query={"EIO": ["4"], "x": ["1", "2"]},
        headers={"user-agent": ["né"]},
        claims={"role": ["admin"]},
        user_id="ada",
        groups=("g",),
    )
    assert json.loads(connect_body(handshake)) == {
        "claims": {"role": ["admin"]},
        "query": {"EIO": ["4"], "x": ["1", "2"]},
        "headers": {"user-agent": ["né"]},
        "subprotocols": [],
        "clientCertificates": [],
    }


def test_the_connect_body_of_a_silent_client_has_headers() -> None:
    assert json.loads(connect_body(Handshake(query={}, headers={})))["headers"] == {}


def answer(**terms: Any) -> bytes:
    """The body of an acceptance."""
    return json.dumps({"socketio": terms}).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            answer(pingInterval=1_000, pingTimeout=500, maxPayload=9, sid="x", upgrades=[]),
            OpenInfo(ping_interval=1_000, ping_timeout=500, max_payload=9),
        ),
        (answer(), OpenInfo()),
        (b"", None),
        (b"{}", None),
        (b"null", None),
        (b"\xff", None),
        (answer(pingInterval="25000"), None),
        (answer(pingInterval=None), None),
        (answer(pingInterval=0), None),
        (answer(pingTimeout=-1), None),
        (answer(pingTimeout=10**40), None),
        (answer(maxPayload=None), OpenInfo(max_payload=2**53)),
        (answer(maxPayload=1e21), OpenInfo(max_payload=2**53)),
        (answer(maxPayload=10**40), OpenInfo(max_payload=2**53)),
        (answer(maxPayload=0), None),
        (b'{"socketio":{"maxPayload":-1e999}}', None),
        (b'{"socketio":{"pingInterval":' + b"9" * 5_000 + b"}}", None),
        (b"[" * 100_000, None),
        (b'{"socketio":' + b"[" * 100_000, None),
    ],
)
def test_connect_answers(content: bytes, expected: OpenInfo | None) -> None:
    assert connect_answer(content) == expected


@given(st.one_of(st.binary(max_size=80), TEXTS.map(str.encode)))
def test_any_connect_answer_is_read_or_ignored(content: bytes) -> None:
    assert connect_answer(content) is None or isinstance(connect_answer(content), OpenInfo)
