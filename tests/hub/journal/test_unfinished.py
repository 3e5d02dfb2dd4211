"""Commands that a lost node may not have carried out, at its heir."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from moorage.hub.journal.heirs import HAND_OVER_SECONDS
from moorage.hub.journal.unfinished import Unfinished, carry_out
from moorage.wire.commands import CloseConnections, JoinGroups, LeaveGroups, Selection, Send, SendToConnection
from moorage.wire.groups import room_group
from tests.hub.fakes import HUB
from tests.hub.journal.loss import SESSION, Keeper, emit
from tests.hub.recovery.stage import ROOT, Returning

CHANNEL = 7
NOBODY = Selection(connection="")
RED = (room_group("/", "red"),)


class Heir(Keeper):
    """It goes on with the socket of a client of a lost node, which had carried out the batches up to 4."""

    def __init__(self, *, settle: bool = False) -> None:
        super().__init__()
        lost = Keeper()
        self.had: Returning = lost.client()
        self.had.connection.channel = CHANNEL
        lost.tick(31.0)
        lost.take(4)
        self.inherit(lost, settle=settle)

    def carry_out(
        self,
        command: Send | SendToConnection | JoinGroups | LeaveGroups | CloseConnections,
        *,
        client: int = 0,
    ) -> None:
        for batch in (4, 5):
            carry_out(self.heirs, "lost", HUB, Unfinished(SESSION, batch, 0, client, command))

    @property
    def missed(self) -> list[bytes]:
        estate = self.heirs.estate("lost", HUB)
        assert estate is not None
        return [entry.payload[:8] for entry in estate.missed(self.had.pid["/"], 0) or ()]

    @property
    def groups(self) -> Collection[str]:
        estate = self.heirs.estate("lost", HUB)
        assert estate is not None
        track = estate.recovery.find(self.had.pid["/"])
        return () if track is None else track.groups


@pytest.fixture
def heir() -> Heir:
    return Heir()


def test_what_the_lost_node_had_carried_out_is_left_out(heir: Heir) -> None:
    heir.carry_out(emit(ROOT, b'42["a",1]', 1))
    assert heir.missed == [b'42["a",1']


def test_what_is_for_one_client(heir: Heir) -> None:
    heir.carry_out(SendToConnection(HUB, "", b'42["a",1]'), client=CHANNEL)
    heir.carry_out(SendToConnection(HUB, "", b'42["a",2]'), client=CHANNEL + 1)
    heir.carry_out(SendToConnection(HUB, "", b'42["a",3]'))
    assert heir.missed == [b'42["a",1']
    heir.carry_out(JoinGroups(HUB, NOBODY, RED, quiet=True), client=CHANNEL)
    assert RED[0] in heir.groups
    heir.carry_out(LeaveGroups(HUB, NOBODY, RED, quiet=True), client=CHANNEL)
    assert RED[0] not in heir.groups
    heir.carry_out(CloseConnections(HUB, NOBODY), client=CHANNEL)
    assert heir.groups == ()


def test_a_node_that_is_not_the_heir() -> None:
    """It has nothing for which it could be carried out."""
    keeper = Keeper()
    assert not keeper.heirs.takes("lost", HUB)
    carry_out(keeper.heirs, "lost", HUB, Unfinished(SESSION, 5, 0, 0, emit(ROOT, b'42["a",1]', 1)))


def test_when_clients_are_resumed_the_sockets_that_it_was_for_end() -> None:
    heir = Heir()
    heir.server.instance = "another"
    heir.tick(HAND_OVER_SECONDS + 0.1)
    assert heir.heirs.takes("lost", HUB)
    missed: list[Collection[str]] = []
    heir.heirs.missed = lambda _hub, _pids, lanes: missed.append(lanes)
    heir.carry_out(emit(ROOT, b'42["a",1]', 1))
    heir.carry_out(SendToConnection(HUB, "", b'42["a",1]'), client=CHANNEL)
    heir.carry_out(SendToConnection(HUB, "", b'42["a",1]'))
    heir.heirs.handed_over("lost", HUB, "instance", 1)
    assert [set(lanes) for lanes in missed] == [{ROOT.group, room_group("/", heir.had.sid["/"])}]
    assert not heir.heirs.takes("lost", HUB)
