"""Which addresses are in a list of networks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.edge.limits.networks import AccessList, Networks, counted_address

NETWORKS = ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/1")


@given(st.ip_addresses())
def test_as_the_standard_library_says(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for some in (NETWORKS, ("0.0.0.0/0",), ("::/0",), ()):
        expected = any(address in ipaddress.ip_network(network) for network in some)
        assert (address in Networks(some)) is expected


@pytest.mark.parametrize(
    ("allow", "deny", "allowed", "refused"),
    [
        ((), ("10.0.0.0/8",), ("192.0.2.1", "::1", "", "x"), ("10.1.2.3", "::ffff:10.1.2.3")),
        (("10.0.0.0/8",), (), ("10.1.2.3", "::ffff:10.1.2.3"), ("192.0.2.1", "::1", "", "x")),
        (("10.0.0.0/8",), ("10.1.0.0/16",), ("10.2.0.1",), ("10.1.0.1", "11.0.0.1")),
        (("fe80::/64",), (), ("fe80::1%eth0",), ("fe80:0:0:1::1",)),
    ],
)
def test_deny_wins(
    allow: tuple[str, ...], deny: tuple[str, ...], allowed: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    found = AccessList(allow, deny)
    assert found
    assert [address for address in allowed if found.refused_by(address)] == []
    assert [address for address in refused if not found.refused_by(address)] == []
    assert not AccessList((), ())


def test_the_list_that_refuses_is_named() -> None:
    found = AccessList(("10.0.0.0/8",), ("10.1.0.0/16",))
    assert [found.refused_by(address) for address in ("10.2.0.1", "10.1.0.1", "11.0.0.1", "x")] == [
        "",
        "server.deny",
        "server.allow",
        "server.allow",
    ]


def test_an_ipv6_customer_counts_as_one() -> None:
    assert counted_address("2001:db8::1") == counted_address("2001:db8::ffff:1") == "2001:db8::/64"
    assert counted_address("2001:db8:0:1::1") != counted_address("2001:db8::1")
    assert counted_address("::ffff:192.0.2.7") == counted_address("192.0.2.7") == "192.0.2.7"
    assert counted_address("unknown") == "unknown"
