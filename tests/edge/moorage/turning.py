"""Sessions on a loop that also makes the calls that the node has asked for."""

from __future__ import annotations

from tests.edge.moorage.rig import Rig


class TurningRig(Rig):
    """See the module's text."""

    def settle(self) -> None:
        """The end of the loop tick."""
        super().settle()
        while self.world.callbacks:
            self.world.callbacks.pop(0)()
            super().settle()
