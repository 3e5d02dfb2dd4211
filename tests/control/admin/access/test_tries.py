"""Keys cannot be guessed quickly."""

from __future__ import annotations

import pytest

from moorage.control.admin.access.tries import BURST, MAX_ADDRESSES, SECONDS, Tries
from moorage.edge.limits.networks import counted_address
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_TOO_MANY_TRIES


def refused(tries: Tries, address: str, now: float) -> bool:
    try:
        tries.check(address, now)
    except PeerError as error:
        assert error.reason is ADMIN_TOO_MANY_TRIES
        return True
    return False


def test_an_address_has_a_few_tries() -> None:
    tries = Tries(counted_address)
    for _ in range(BURST):
        tries.check("192.0.2.1", 0.0)
        tries.wrong("192.0.2.1", 0.0)
    assert refused(tries, "192.0.2.1", 0.0)
    assert not refused(tries, "192.0.2.2", 0.0)
    assert refused(tries, "192.0.2.1", SECONDS - 0.1)
    assert not refused(tries, "192.0.2.1", SECONDS)
    tries.wrong("192.0.2.1", SECONDS)
    assert refused(tries, "192.0.2.1", SECONDS)
    assert not refused(tries, "192.0.2.1", 100 * SECONDS)


def test_the_wait_is_told() -> None:
    tries = Tries(counted_address)
    for _ in range(BURST):
        tries.wrong("192.0.2.1", 0.0)
    with pytest.raises(PeerError, match=r"try again in [67] s"):
        tries.check("192.0.2.1", 0.0)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("unix", "unix", True),
    ],
)
def test_networks(first: str, second: str, same: bool) -> None:
    tries = Tries(counted_address)
    for _ in range(BURST):
        tries.wrong(first, 0.0)
    assert refused(tries, second, 0.0) == same


def test_few_addresses_are_remembered() -> None:
    tries = Tries(counted_address)
    for number in range(MAX_ADDRESSES + 100):
        for _ in range(BURST):
            tries.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert not refused(tries, "10.0.0.1", 0.0)
    assert refused(tries, f"10.0.{MAX_ADDRESSES >> 8}.{MAX_ADDRESSES & 255}", 0.0)
