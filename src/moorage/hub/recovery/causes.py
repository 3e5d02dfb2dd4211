"""Why a client that comes back gets a new session."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "unknown"
"""No node has this `pid`, or none has it any more."""
FOREIGN: Final = "foreign"
"""It belongs to another user or namespace."""
OFFSET: Final = "offset"
"""No client can have this offset."""
DROPPED: Final = "dropped"
"""Something that it missed is not kept any more."""
UNSAVED: Final = "unsaved"
"""Its data did not come in time."""
UNSUPPORTED: Final = "unsupported"
"""The app server of its new connection has no recovery."""
UNREACHED: Final = "unreached"
"""Another node that may have it did not answer in time."""
LOST: Final = "lost"
"""It belonged to a node that is gone."""
ELSEWHERE: Final = "elsewhere"
"""No refusal: the client is back on a later connection, at another node. So this one is ended."""
UNSTORED: Final = "unstored"
"""It belonged to a node that is gone, and what that one had stored cannot be read."""
CAUSES: Final = (UNKNOWN, FOREIGN, OFFSET, DROPPED, UNSAVED, UNSUPPORTED, UNREACHED, LOST, UNSTORED)
