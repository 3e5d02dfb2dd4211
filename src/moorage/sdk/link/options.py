"""What an app may choose about its links."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from moorage.sdk.link.recovery import OFF, Recovery
from moorage.sdk.link.session import MAX_QUEUE_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkOptions:
    """The arguments of `use_moorage` and `use_moorage_sync` with these names."""

    max_queue_bytes: int = MAX_QUEUE_BYTES
    emit_only: bool = False
    ssl_context: ssl.SSLContext | None = None
    recovery: Recovery = OFF


DEFAULTS: Final = LinkOptions()
