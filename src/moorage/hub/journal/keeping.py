"""What a node keeps so that its sockets survive its loss, and what it keeps of lost ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moorage.hub.hub import Connection, Hub
from moorage.hub.journal.gate import GatedFlusher
from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.journal import Journal, Store
from moorage.hub.journal.scribe import Scribe
from moorage.hub.settings import RecoverySettings


class Keeping:
    """The journal of a node and its inheritances."""

    def __init__(
        self,
        store: Store,
        hubs: Mapping[str, Hub],
        flusher: GatedFlusher[Connection],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        settings_of: Callable[[str], RecoverySettings],
    ) -> None:
        self._hubs = hubs
        self.journal = flusher.journal = Journal(store, clock, wall_clock, flusher.wake)
        self.journal.describe = self._describe
        self.heirs = Heirs(hubs, clock, settings_of)

    def _describe(self) -> None:
        for hub in self._hubs.values():
            if hub.recovery is not None:
                hub.recovery.write_all()

    def session_changed(self, hub: Hub, instance: str, up: bool) -> None:
        """A session of an app server begins, or is over."""
        recovery = hub.recovery
        if recovery is not None and recovery.scribe is None:
            recovery.scribe = Scribe(self.journal, hub.name, recovery.log.epoch)
            for server in hub.servers.all():
                # Azure's SDK has no instance and hands nothing over, so no heir may wait for it.
                if server.instance or not instance:
                    recovery.scribe.linked(server.instance)
            self.heirs.begun(hub, recovery)
        elif recovery is not None and recovery.scribe is not None:
            (recovery.scribe.linked if up else recovery.scribe.unlinked)(instance)
        if up:
            self.heirs.appeared(hub.name, instance)
        else:
            self.heirs.dropped(instance)

    def taken(self, hub: Hub, session: str, batch: int, call: Callable[[], object]) -> None:
        """A batch of an app server's session is carried out. Makes the call when that is stored."""
        if hub.recovery is not None and hub.recovery.scribe is not None:
            hub.recovery.scribe.taken(session, batch + 1, 0)
        self.journal.after(call)

    def progress(self, hub: Hub, session: str, batch: int, place: int) -> None:
        """The first frames of a batch are carried out, and others come between them and the next ones."""
        if hub.recovery is not None and hub.recovery.scribe is not None:
            hub.recovery.scribe.taken(session, batch, place)

    def tick(self, now: float) -> None:
        """Time passes."""
        self.journal.tick(now)
        self.heirs.tick(now)
