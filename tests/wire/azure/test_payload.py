"""Payloads that a REST caller may send, and payloads that would break clients' parsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.azure.payload import MAX_PACKETS, check_payload
from moorage.wire.errors import PeerError


@pytest.mark.parametrize(
    "body",
    [
        b'42["hi"]',
        b"42[1]",
        b'42/ns,["hi",{"a":[1,2]}]',
        b'42/ns,13["hi"]',
        '42["é",null]'.encode(),
        b'43/ns,7["ok"]',
        b"437[]",
        b"41",
        b"41/ns,",
        b'41/ns,{"close":true}',
        b"42[1.5]",
        b'42["a"]\x1e42["b"]\x1e437[]',
        b'451-["bin",{"_placeholder":true,"num":0}]\x1ebYWJj',
        b'452-/ns,3["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]\x1eb\x1ebYQ',
        b'461-7[{"_placeholder":true,"num":0}]\x1ebYWI=\x1e42["next"]',
        b"\x1e".join([b'42["x"]'] * MAX_PACKETS),
    ],
)
def test_payload(body: bytes) -> None:
    check_payload(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'{"x":1}',
        b"100 users",  # would close every client
        b"2 more",
        b'40/ns,{"sid":"x"}',
        b'44{"message":"no"}',
        b"1",
        b"2",
        b"6",
        b"411",
        b"41/ns,1",
        b"41 users",
        b"41{",
        b"41[]",
        b"41/\xff,",
        b'42["a"]\x1e41',
        b"41\x1e41",
        b"42[true]",
        b'42 ["x"]',
        b"3",
        b"5",
        b'0{"sid":"x"}',
        b"4",
        b"47",
        b"4hello",
        b"42",
        b"42hello",
        b'42"hi"',
        b"42{}",
        b"42[]",
        b"42[null]",
        b"42[[]]",
        b'42["connect"]',
        b'42["disconnect","x"]',
        b"42[NaN]",
        b'42["hi"]x',
        b'42["hi"]\n42["ho"]',
        b'43/ns,7{"a":1}',
        b"43",
        b'42["\xff"]',
        b'42["hi"]\x1e',
        b'\x1e42["hi"]',
        b'42["hi"]\x1e\x1e42["hi"]',
        b"bYWJj",
        b'42["hi"]\x1ebYWJj',
        b'451-["bin"]',
        b'451-["bin"]\x1e42["hi"]',
        b'451-["bin"]\x1ebYWJj\x1ebYWJj',
        b'451-["bin"]\x1eb!!!!',
        b'451-["bin"]\x1ebYQ=x',
        b'45["bin"]',
        b'4599999-["bin"]',
        b"\x1e".join([b"2"] * (MAX_PACKETS + 1)),
        b"\x1e" * 1_000_000,
        b'42["hi",' + b"[" * 100_000,
        b"42/" + b"n" * 600 + b',["hi"]',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_refused(body: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        check_payload(body)
    assert caught.value.reason.name == "api-bad-payload"


def test_the_refusal_of_plain_text_shows_what_an_event_looks_like() -> None:
    with pytest.raises(PeerError, match=r'42\["name","data"\]'):
        check_payload(b"hello")


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"4", b"42", b"451-", b"[", b"]", b'"a"', b"/ns,", b"b", b"YQ==", b"\x1e", b"7", b","]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_anything_passes_or_is_refused(body: bytes) -> None:
    try:
        check_payload(body)
    except PeerError as error:
        assert error.reason.name == "api-bad-payload"
