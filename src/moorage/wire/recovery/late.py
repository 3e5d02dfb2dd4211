"""How the heir of a lost node gets what others had sent to that node, and what that one had not carried out
(docs/explanation/architecture.md, "A node is lost"). Declarations only."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields


class Wanted(Fields, tag=170):
    """The sender goes on with the sockets of a lost node, and takes what is sent to them from now on. The
    lost node has carried out what came before these numbers (`wire.recovery.journal.Heard`); 0 for
    nothing."""

    lost: str
    all: Count
    direct: Count


class Late(Fields, tag=171):
    """A message (`wire.cluster.messages.Envelope`) that the lost node may not have carried out."""

    lost: str
    message: bytes


class LateEnd(Fields, tag=172):
    """That was all. Not `complete`: something is not kept any more."""

    lost: str
    complete: bool


Lateness = Wanted | Late | LateEnd
