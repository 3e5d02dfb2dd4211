"""A configuration as text, for `config show` and `config init`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from moorage.cluster.settings import without_password
from moorage.config.load import flatten
from moorage.config.model import MASK, Config
from moorage.config.rules import Rule, show
from moorage.config.schema import find

# Text that YAML 1.1 reads as text even without quotes.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def render(config: Config, sources: Mapping[str, str] | None = None) -> str:
    """All settings as YAML, with masked keys. A comment names the source of each value that has one."""
    lines: list[str] = []
    shown: tuple[str, ...] = ()
    for path, value in flatten(config).items():
        head, _, field = path.rpartition(".")
        # A hub's name may hold dots.
        limit = 1 if head.startswith("hubs.") else -1
        parts = tuple(head.split(".", limit)) if head else ()
        for depth, part in enumerate(parts):
            if shown[: depth + 1] != parts[: depth + 1]:
                lines.append(f"{'  ' * depth}{_quote(part)}:")
                shown = parts[: depth + 1]
        shown = parts
        setting = find(path)
        assert setting is not None, path
        source = (sources or {}).get(path)
        comment = f"  # {source}" if source else ""
        lines.append(f"{'  ' * len(parts)}{field}: {_yaml(setting.rule, value)}{comment}")
    return "\n".join(lines) + "\n"


def _yaml(rule: Rule, value: object) -> str:
    if rule.kind == "secret":
        return f'"{MASK}"' if value else '""'
    if rule.kind == "nats" and isinstance(value, tuple):
        value = tuple(without_password(url) for url in value)
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return _quote(value) if isinstance(value, str) else show(rule, value)


def _quote(text: str) -> str:
    # A JSON string is a valid YAML string.
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text)


STARTER: Final = """\
# Moorage configuration. All settings: docs/reference/configuration.md, or `moorage config show --defaults`.
# A commented line shows the default. Flags override MOORAGE_... variables, which override this file.
# Durations: 500ms, 30s, 1h. Sizes: 64KiB, 1MiB. The service does not start with an unknown setting.

# A key gives full access: keep this file private (it was written with mode 0600).
keys:
  primary: "{primary}"
  # Also accepted, so that keys can be rotated without a gap: write the new key to primary, the old one
  # here, reload (SIGHUP), and remove it when all app servers use the new key.
  secondary: "{secondary}"
  # To keep the keys out of this file:
  # primary_file: /run/secrets/moorage-primary
  # secondary_file: /run/secrets/moorage-secondary

server:
  # 0.0.0.0 listens on all addresses.
  # host: 127.0.0.1
  # port: 8080
  # The URL that clients and app servers use if Moorage is behind a proxy.
  # public_endpoint: "https://live.example.org"
  # Trusted proxies, which send X-Forwarded-For or Forwarded: ["127.0.0.1", "10.0.0.0/8"]
  # trusted_proxies: []
  # TLS for the whole port (docs/howto/set-up-tls.md); SIGHUP reads the files again.
  # tls:
  #   cert_file: ""
  #   key_file: ""

cors:
  # Pages that may connect; "*" = all. The app sees cookies only from origins that are listed by name or
  # by pattern, such as ["https://app.example.org", "https://*.example.net"].
  # allow_origins: ["*"]

# The hub of the plain path /socket.io/, and whether unlisted hubs may be used.
# default_hub: app
# allow_unlisted_hubs: true

hubs:
  # Settings of every hub that does not override them.
  default:
    # Whether clients may connect without an access token.
    # anonymous: true

limits:
  # Maximum bytes of one client message.
  # max_payload: 1000000
  # A client with more than this queued is closed as slow if it reads nothing for slow_after.
  # outbox_bytes: 4MiB
  # slow_after: 5s
  # Maximum bytes queued for all clients together.
  # outbox_total_bytes: 512MiB
  # max_connections: 1000000

links:
  # Time that an app server may be without a link before its clients are closed.
  # grace: 5s

shutdown:
  # At SIGTERM: "not ready" for `lb_wait`, then `rate` clients are closed a second; the process ends at
  # `timeout`.
  # lb_wait: 1s
  # rate: 500
  # timeout: 30s

log:
  # debug, info, warning or error
  # level: info
  # json or human
  # format: json

metrics:
  # Serve /metrics.
  # enabled: true

admin:
  # The Admin API and the dashboard are off without a key. To make one: openssl rand -base64 32
  # Shows everything, changes nothing:
  # read_key: ""
  # Also emits, moves and disconnects clients, and drains nodes:
  # operate_key: ""
"""


def starter(primary: str, secondary: str) -> str:
    """A first configuration file with these keys."""
    return STARTER.format(primary=primary, secondary=secondary)
