"""Warnings about the addresses of clients, and who can reach the service."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.config.check import warnings
from moorage.config.model import Config
from moorage.config.reach import about_addresses, is_loopback, is_public, is_public_endpoint
from moorage.edge.settings import ServerSettings
from moorage.hub.settings import HubSettings


def told(hub: HubSettings | None = None, **server: Any) -> list[str]:
    """The warnings about addresses."""
    hubs = {} if hub is None else {"chat": hub}
    return list(about_addresses(Config(server=ServerSettings(**server), hubs=hubs)))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_who_is_public() -> None:
    assert not is_public(Config())
    assert is_public(Config(server=ServerSettings(host="0.0.0.0")))
    assert is_public(Config(server=ServerSettings(public_endpoint="https://live.example")))
    assert not is_public_endpoint("")
    assert not is_public_endpoint("http://[::1]:8080")
    assert is_public_endpoint("https://10.0.0.1")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_a_trust_in_everybody(network: str) -> None:
    (warning,) = told(trusted_proxies=("10.0.0.0/8", network))
    assert warning.startswith(f"server.trusted_proxies: {network} trusts everybody")
    assert warning in warnings(Config(server=ServerSettings(trusted_proxies=(network,))))


def test_limits_for_addresses_behind_a_proxy_that_is_not_listed() -> None:
    proxied = {"host": "127.0.0.1", "public_endpoint": "https://live.example"}
    limits = HubSettings(connects_per_address="3/s", messages_per_address="9/s", messages_per_client="5/s")
    (warning,) = told(limits, deny=("192.0.2.0/24",), **proxied)
    assert warning.startswith("server.trusted_proxies: not set")
    assert "server.deny, hubs.chat.connects_per_address, hubs.chat.messages_per_address cannot" in warning
    assert told(limits, trusted_proxies=("127.0.0.1/32",), **proxied) == []
    assert told(HubSettings(messages_per_client="5/s"), **proxied) == []
    assert told(limits) == [], "without a proxy"
    assert told(limits, host="0.0.0.0", public_endpoint="https://live.example") == [], "perhaps without one"


def test_allowed_networks_that_are_denied() -> None:
    assert told(allow=("10.0.0.0/8",), deny=("10.1.0.0/16", "192.0.2.0/24")) == []
    (warning,) = told(allow=("10.1.0.0/16", "172.16.0.0/12"), deny=("10.0.0.0/8",))
    assert warning.startswith("server.allow: 10.1.0.0/16 without effect")
    (warning,) = told(allow=("10.1.0.0/16", "2001:db8::/64"), deny=("10.1.0.0/16", "2001:db8::/32"))
    assert warning.startswith("server.allow: 10.1.0.0/16 and 1 more without effect")
