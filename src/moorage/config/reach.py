"""Who can reach the service, and warnings about settings that depend on the addresses of its clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from moorage.config.model import Config
from moorage.edge.settings import ServerSettings


def is_public(config: Config) -> bool:
    """True if the service can be reached from other machines, directly or through a proxy."""
    server = config.server
    return is_public_endpoint(server.public_endpoint) or not is_loopback(server.host)


def is_public_endpoint(url: str) -> bool:
    """True for an address that other machines may reach."""
    return bool(url) and not is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """True if only this machine can reach a listener on `host`. False for every name except localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def about_addresses(config: Config) -> Iterator[str]:
    """Warnings about proxies, and about lists and limits that count addresses."""
    server = config.server
    for network in server.trusted_proxies:
        if network in ("0.0.0.0/0", "::/0"):
            yield (
                f"server.trusted_proxies: {network} trusts everybody, so each client chooses the address "
                "that lists, limits and the app see; list the proxies only"
            )
    counting = [*_of_server(server), *_of_hubs(config)]
    behind_proxy = is_loopback(server.host) and is_public_endpoint(server.public_endpoint)
    if counting and behind_proxy and not server.trusted_proxies:
        yield (
            "server.trusted_proxies: not set, so all clients of the proxy before this service have the "
            f"proxy's address, and {', '.join(counting)} cannot tell them apart"
        )
    shut = _within(server.allow, frozenset(server.deny))
    if shut:
        more = f" and {len(shut) - 1} more" if len(shut) > 1 else ""
        yield f"server.allow: {shut[0]}{more} without effect, because server.deny has it too and wins"


def _of_server(server: ServerSettings) -> Iterator[str]:
    for name in ("allow", "deny", "max_tcp_per_address"):
        if getattr(server, name):
            yield f"server.{name}"


def _of_hubs(config: Config) -> Iterator[str]:
    for hub, settings in config.hubs.items():
        for name in ("connects_per_address", "messages_per_address"):
            if getattr(settings, name):
                yield f"hubs.{hub}.{name}"


def _within(networks: tuple[str, ...], others: frozenset[str]) -> list[str]:
    """Those of `networks` that lie in one of `others`. Lists have thousands of networks, but few sizes."""
    sizes = {int(other.rpartition("/")[2]) for other in others}

    def lies_within(text: str) -> bool:
        network = ipaddress.ip_network(text)
        return any(
            str(network.supernet(new_prefix=size)) in others for size in sizes if size <= network.prefixlen
        )

    return [text for text in networks if lies_within(text)]
