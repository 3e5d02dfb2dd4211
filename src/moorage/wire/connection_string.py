"""`Endpoint=http://127.0.0.1:8080;AccessKey=…;Version=1.0;`: where the service is, and the key to it. The
form is that of Azure's product, so one setting serves both. `Port=` overrules the endpoint's own port; other
members are ignored, as Azure adds some now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.errors import UsageError

FORM: Final = "Endpoint=http://HOST:PORT;AccessKey=KEY;Version=1.0;"
_WHERE: Final = (
    "`moorage dev` prints the string when it starts; "
    "for a service under your own settings see `server.public_endpoint` and `keys.primary` there"
)


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A parsed one. `host` as it goes into URLs, with the port and a path in front of the
    service's own, if any."""

    secure: bool
    host: str
    key: str = field(repr=False)
    advertised: bool = False
    """True if the service named this address, as a node's `cluster.advertise`."""

    @property
    def endpoint(self) -> str:
        """The service's URL."""
        return f"http{'s' if self.secure else ''}://{self.host}"

    def link_url(self, hub: str, node: str = "") -> str:
        """Where links of `hub` are opened, at a certain node of the service if one is named. The access
        token's audience is this URL, too."""
        which = f"&node={quote(node, safe='')}" if node else ""
        return f"ws{'s' if self.secure else ''}://{self.host}/server/tunnel?hub={quote(hub, safe='')}{which}"

    def at(self, url: str) -> ConnectionString:
        """The same key at another address of the service. Raises `UsageError` for what is no URL."""
        secure, host = _address(url, "")
        return ConnectionString(secure, host, self.key, advertised=True)


def parse(text: str) -> ConnectionString:
    """Parse a connection string. Raises `UsageError` with the missing part and the place to find it. The
    message never repeats the key."""
    if not text or not text.strip():
        raise UsageError(f"the connection string is empty; it looks like {FORM} ({_WHERE})")
    members = _members(text)
    for name in ("endpoint", "accesskey"):
        if not members.get(name):
            written = {"endpoint": "Endpoint", "accesskey": "AccessKey"}[name]
            raise UsageError(f"the connection string has no {written}; it looks like {FORM} ({_WHERE})")
    version = members.get("version", "1.0")
    if not version.startswith("1."):
        raise UsageError(f"the connection string has Version={version}; this SDK knows 1.0")
    secure, host = _address(members["endpoint"], members.get("port", ""))
    return ConnectionString(secure, host, members["accesskey"])


def check_hub(hub: Any) -> str:
    """Return `hub`. Raises `UsageError` if it cannot be the name of a hub."""
    # A setting that is not there is None.
    if not isinstance(hub, str) or not HUB_NAME.fullmatch(hub):
        raise UsageError(
            f"{hub!r} is not a hub name: a letter, then letters, digits and _ (up to 128 characters); "
            "clients connect to it with the path /clients/socketio/hubs/HUB"
        )
    return hub


def _members(text: str) -> dict[str, str]:
    members: dict[str, str] = {}
    for part in text.strip().strip("\"'").split(";"):
        if not part.strip():
            continue
        # Keys may hold `=`, so only the first one counts.
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"the connection string has a part without `=`; it looks like {FORM}")
        members[name.strip().lower()] = value.strip()
    return members


def _address(endpoint: str, port: str) -> tuple[bool, str]:
    try:
        url = urlsplit(endpoint)
        found = url.port
    except ValueError as error:
        raise UsageError(f"the connection string's Endpoint is not a URL: {error}") from None
    if url.scheme.lower() not in ("http", "https", "ws", "wss") or not url.hostname:
        raise UsageError(
            f"the connection string's Endpoint is {endpoint!r}; it must be a URL like http://127.0.0.1:8080"
        )
    if port:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"the connection string has Port={port}; it must be a number from 1 to 65535")
        found = int(port)
    try:
        url.hostname.encode("idna")
    except UnicodeError:
        raise UsageError(f"the connection string's Endpoint names no host: {url.hostname!r}") from None
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    if found:
        host = f"{host}:{found}"
    return url.scheme.lower() in ("https", "wss"), host + url.path.rstrip("/")
