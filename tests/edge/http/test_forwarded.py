"""Whose word about a client's address counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.edge.http.forwarded import MAX_HOPS, TrustedProxies

pytestmark = pytest.mark.repair(27)

PROXY = "10.0.0.1"
TRUSTED = TrustedProxies(("10.0.0.0/8", "::1", "2001:db8:1::/48"))


def told(header: str, *values: str, peer: str = PROXY) -> str:
    """The client's address, where the peer says this of it."""
    return TRUSTED.client(peer, {header: values})


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("6.6.6.6,192.0.2.7, 10.9.9.9 ,10.1.1.1", "192.0.2.7"),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0::7, 2001:db8:1::9", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, unknown", PROXY),
        ("192.0.2.7, 10.2.2.2, nonsense, 10.1.1.1", "10.1.1.1"),
        ("192.0.2.7,", PROXY),
        ("", PROXY),
        (",,,", PROXY),
        ("192.0.2.999", PROXY),
        ("192.0.2.07", PROXY),
        ("3221225991", PROXY),
        ("fe80::1%eth0", PROXY),
        ("192.0.2.7 192.0.2.8", PROXY),
        ("192.0.2.7:99999999999", PROXY),
        ("[192.0.2.7", PROXY),
        ("\xb9.2.3.4", PROXY),
    ],
)
def test_x_forwarded_for(value: str, client: str) -> None:
    assert told("x-forwarded-for", value) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ("proto=https; for=192.0.2.7 ", "192.0.2.7"),
        ('for="192.0.2.7:4711"', "192.0.2.7"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for=6.6.6.6, for=192.0.2.7;proto="https", for=10.1.1.1', "192.0.2.7"),
        ('for="6.6.6.6, for=192.0.2.7', "192.0.2.7"),
        ('for=6.6.6.6, x="\\", for=192.0.2.7', "192.0.2.7"),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ("for=192.0.2.7;for=192.0.2.8", PROXY),
        ("by=192.0.2.7", PROXY),
        ("for=192.0.2.7, proto=https", PROXY),
        ('for="', PROXY),
        ("192.0.2.7", PROXY),
    ],
)
def test_forwarded(value: str, client: str) -> None:
    assert told("forwarded", value) == client


def test_several_headers_are_one_list() -> None:
    assert told("x-forwarded-for", "6.6.6.6", "192.0.2.7", "10.1.1.1") == "192.0.2.7"


def test_headers_of_other_peers_are_ignored() -> None:
    assert told("x-forwarded-for", "192.0.2.7", peer="172.16.0.1") == "172.16.0.1"
    assert told("x-forwarded-for", "192.0.2.7", peer="") == ""
    nobody = TrustedProxies(())
    assert nobody.client(PROXY, {"x-forwarded-for": ["192.0.2.7"]}) == PROXY


def test_a_listener_for_both_families_sees_mapped_addresses() -> None:
    assert told("x-forwarded-for", "192.0.2.7", peer="::ffff:10.0.0.1") == "192.0.2.7"
    assert told("x-forwarded-for", "192.0.2.7", peer="::1%lo") == "192.0.2.7"
    assert TRUSTED.client("::ffff:10.0.0.1", {}) == "::ffff:10.0.0.1"


def test_two_headers_that_disagree_tell_nothing() -> None:
    def both(one: str, other: str) -> str:
        return TRUSTED.client(PROXY, {"x-forwarded-for": [one], "forwarded": [f"for={other}"]})

    assert both("192.0.2.7", "192.0.2.7") == "192.0.2.7"
    assert both("192.0.2.7", "6.6.6.6") == PROXY


def test_a_list_is_read_up_to_a_bound() -> None:
    assert told("x-forwarded-for", ",".join(["192.0.2.7", *["10.1.1.1"] * (MAX_HOPS - 1)])) == "192.0.2.7"
    assert told("x-forwarded-for", ",".join(["192.0.2.7", *["10.1.1.1"] * MAX_HOPS])) == "10.1.1.1"


@given(st.text(st.sampled_from('0123456789abcdef.:[]",;= \\for\xff'), max_size=60))
def test_a_client_cannot_forge_what_the_proxy_appends(text: str) -> None:
    assert told("x-forwarded-for", f"{text},192.0.2.7") == "192.0.2.7"
    assert told("forwarded", f"{text},for=192.0.2.7") == "192.0.2.7"
    told("x-forwarded-for", text)
    told("forwarded", text)


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({}, "http"),
        ({"x-forwarded-proto": ["https"]}, "https"),
        ({"x-forwarded-proto": ["HTTPS"]}, "https"),
        ({"x-forwarded-proto": ["wss"]}, "https"),
        ({"x-forwarded-proto": ["http"]}, "http"),
        ({"x-forwarded-proto": ["javascript"]}, "http"),
        ({"x-forwarded-proto": [""]}, "http"),
        ({"x-forwarded-proto": ["https"], "x-forwarded-for": ["192.0.2.7"]}, "https"),
        # The client has written the first ones.
        ({"x-forwarded-proto": ["https, http"], "x-forwarded-for": ["6.6.6.6, 192.0.2.7"]}, "http"),
        ({"x-forwarded-proto": ["https, http"], "x-forwarded-for": ["192.0.2.7, 10.2.2.2"]}, "https"),
        ({"x-forwarded-proto": ["https"], "x-forwarded-for": ["192.0.2.7, 10.2.2.2"]}, "https"),
        ({"forwarded": ["for=192.0.2.7;proto=https"]}, "https"),
        ({"forwarded": ['for="[2001:db8::7]:1"; Proto="https"']}, "https"),
        ({"forwarded": ["for=6.6.6.6;proto=https, for=192.0.2.7;proto=http"]}, "http"),
        ({"forwarded": ["for=192.0.2.7;proto=https, for=10.2.2.2;proto=http"]}, "https"),
        ({"forwarded": ["for=unknown;proto=https"]}, "https"),
        ({"forwarded": ["for=192.0.2.7"]}, "http"),
        ({"forwarded": [""]}, "http"),
        ({"forwarded": ["proto=https"], "x-forwarded-proto": ["https"]}, "https"),
        ({"forwarded": ["proto=http"], "x-forwarded-proto": ["https"]}, "http"),
    ],
)
def test_the_scheme(headers: dict[str, list[str]], scheme: str) -> None:
    assert TRUSTED.scheme(PROXY, headers, "http") == scheme
    assert TRUSTED.scheme("192.0.2.7", headers, "http") == "http"
    assert TrustedProxies(()).scheme(PROXY, headers, "http") == "http"


def test_a_proxy_may_reach_the_service_over_tls() -> None:
    assert TRUSTED.scheme(PROXY, {"x-forwarded-proto": ["http"]}, "https") == "http"
    assert TRUSTED.scheme(PROXY, {}, "https") == "https"


@given(st.lists(st.text(max_size=30), max_size=4), st.sampled_from(["forwarded", "x-forwarded-proto"]))
def test_any_text_is_some_scheme(values: list[str], header: str) -> None:
    assert TRUSTED.scheme(PROXY, {header: values}, "http") in ("http", "https")
