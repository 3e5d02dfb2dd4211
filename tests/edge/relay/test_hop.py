"""The signed header of relayed requests."""

from __future__ import annotations

import pytest

from moorage.auth import AccessKeys
from moorage.edge.relay.hop import MAX_SENDERS, WINDOW, Hops, Peer, Request

KEYS = AccessKeys("k" * 32)
HERE, THERE = "incarnHE", "incarnTH"
REQUEST = Request.of("GET", "/socket.io/?sid=x", [(b"host", b"example.org"), (b"cookie", b"a")])
PEER = Peer("https", "2001:db8::7")


@pytest.fixture
def here() -> Hops:
    return Hops(KEYS, HERE)


@pytest.fixture
def there() -> Hops:
    return Hops(KEYS, THERE)


def test_the_receiver_learns_who_the_client_is(here: Hops, there: Hops) -> None:
    for peer in (PEER, Peer("http", "192.0.2.7"), Peer("http", "")):
        assert there.verify(here.sign(THERE, REQUEST, peer), REQUEST) == peer


def test_a_header_works_once(here: Hops, there: Hops) -> None:
    first, second = (here.sign(THERE, REQUEST, PEER) for _ in range(2))
    assert there.verify(second, REQUEST)
    assert there.verify(first, REQUEST), "requests may overtake each other"
    assert [there.verify(value, REQUEST) for value in (first, second)] == [None, None]


def test_a_header_that_is_far_behind_is_refused(here: Hops, there: Hops) -> None:
    old, *_, edge = [here.sign(THERE, REQUEST, PEER) for _ in range(2)]
    for _ in range(WINDOW - 1):
        last = here.sign(THERE, REQUEST, PEER)
    assert there.verify(last, REQUEST)
    assert there.verify(old, REQUEST) is None
    assert there.verify(edge, REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        REQUEST._replace(method="POST"),
        REQUEST._replace(target="/socket.io/?sid=y"),
        REQUEST._replace(host=b"example.com"),
    ],
)
def test_the_signature_covers_the_request(other: Request, here: Hops, there: Hops) -> None:
    value = here.sign(THERE, REQUEST, PEER)
    assert there.verify(value, other) is None
    assert there.verify(value, REQUEST), "a forgery must not use the number up"


@pytest.mark.parametrize("place", range(6))
def test_the_signature_covers_each_field(place: int, here: Hops, there: Hops) -> None:
    fields = here.sign(THERE, REQUEST, PEER).decode().split(" ")
    fields[place] = ["2", "incarnXX", "7", "http", "192.0.2.9", "0" * 64][place]
    assert there.verify(" ".join(fields).encode(), REQUEST) is None


def test_a_header_is_for_one_node(here: Hops) -> None:
    assert Hops(KEYS, "another").verify(here.sign(THERE, REQUEST, PEER), REQUEST) is None


def test_the_key_decides_and_the_second_key_counts_too(there: Hops) -> None:
    stranger = Hops(AccessKeys("z" * 32), HERE).sign(THERE, REQUEST, PEER)
    assert there.verify(stranger, REQUEST) is None
    rotated = Hops(AccessKeys("z" * 32, "k" * 32), THERE)
    assert rotated.verify(stranger, REQUEST)
    assert rotated.verify(Hops(KEYS, "older").sign(THERE, REQUEST, PEER), REQUEST)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"1",
        b"\xff" * 200,
        b"1 a 1 http 1.2.3.4 " + b"0" * 64,
        b"1 a " + b"9" * 5_000 + b" http a " + b"0" * 64,
    ],
)
def test_garbage_is_refused(value: bytes, there: Hops) -> None:
    assert there.verify(value, REQUEST) is None


def test_the_receiver_remembers_a_limited_number_of_senders(there: Hops) -> None:
    values = [Hops(KEYS, f"n{i}").sign(THERE, REQUEST, PEER) for i in range(MAX_SENDERS + 1)]
    assert all(there.verify(value, REQUEST) for value in values)
    assert there.verify(values[-1], REQUEST) is None
