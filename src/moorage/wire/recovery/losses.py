"""What two nodes tell each other after messages between them were lost (docs/explanation/architecture.md,
"Messages between nodes are lost"). Declarations only."""

from __future__ import annotations

from moorage.wire.moorage.rows import Fields


class Since(Fields, tag=160):
    """The sender may have missed emits of the receiver since this time, which is one of the receiver's
    clock."""

    clock: float


class Unseen(Fields, tag=161):
    """The answer: whom the emits since then were for, as the names of lanes by hub. Names of lanes: see
    `hub.recovery.losses`."""

    clock: float
    """That of the question."""
    hubs: dict[str, tuple[str, ...]]
    everything: bool = False
    """True if the sender does not know it any more, so that it may have been anybody."""
    relayed: bool = False
    """True if the sender has missed these emits itself. Sockets that came from it lack them, too."""


Loss = Since | Unseen
