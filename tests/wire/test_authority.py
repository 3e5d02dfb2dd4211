"""Valid and invalid `Host` headers."""

from __future__ import annotations

import pytest

from moorage.wire.authority import check_host
from moorage.wire.errors import PeerError


@pytest.mark.parametrize(
    "host",
    ["a", "example.org", "example.org:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "my_service:80", "a:"],
)
def test_a_host(host: str) -> None:
    check_host([host])


def test_a_missing_host_is_accepted() -> None:
    check_host([])


@pytest.mark.repair(8)
@pytest.mark.parametrize(
    "host",
    [
        *("", "a/b", "a/api/hubs/h", "http://a", "a?b", "a#b", "u@a", "a b", "a:b", "a:123456"),
        *("a\n", "a\x00", "[::1", "::1", "[::1]x", "é", "a,b", "a%2Fb", "\\", "x" * 300),
    ],
)
def test_invalid_hosts(host: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_host([host])
    assert caught.value.reason.name == "bad-request"


@pytest.mark.repair(8)
def test_two_hosts_are_refused() -> None:
    with pytest.raises(PeerError):
        check_host(["a", "a"])
