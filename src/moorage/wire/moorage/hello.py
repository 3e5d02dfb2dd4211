"""The first frame of each side of a link."""

from __future__ import annotations

from typing import Annotated

import msgspec

from moorage.wire.moorage.rows import Count, Fields

Size = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""A window of 0 would block all sending. A service may require more."""


class AppHello(Fields, tag=0):
    """The first frame. `session` and `received` belong to the session to resume; "" and 0 for a new one."""

    revision: Count
    sdk: str
    session: str
    received: Count
    window: Size
    """Maximum unacknowledged bytes that the app server accepts."""
    emit_only: bool = False
    """True if the app server must not get clients."""
    instance: str = ""
    """Random, new at each start of the app server. Revision 3."""
    recovery: Count = 0
    """Milliseconds for which its sockets may be away and be recovered; 0 for never. Revision 5."""
    quiet: bool = False
    """True if a return within this time must run no handler. Revision 5."""
    traces: bool = False
    """True if it can continue traces of OpenTelemetry. Revision 6."""


class ServiceHello(Fields, tag=0):
    """The answer to `AppHello`; times in milliseconds."""

    revision: Count
    service: str
    session: str
    resumed: bool
    received: Count
    window: Size
    max_batch: Size
    """Maximum bytes of one message that the service accepts."""
    keepalive: Count
    grace: Count
    hub: str
    node: str
    max_payload: Count = 0
    """Maximum bytes of one message from a client; 0 if unknown."""
    recovery: Count = 0
    """Milliseconds for which sockets of this app server may be away and be recovered; 0 for never: what the
    app server has asked for, as the hub's settings limit or replace it. Revision 5."""
    keeps: bool = False
    """True if the service wants to know what its nodes had not carried out when they were lost: `Unfinished`
    and `Settled`. Revision 5."""
