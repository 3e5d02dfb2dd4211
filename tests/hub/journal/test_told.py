"""What other nodes had sent to a lost node is carried out by its heir."""

from __future__ import annotations

import pytest

from moorage.hub.journal.heirs import HAND_OVER_SECONDS, RETURN_SECONDS
from moorage.hub.journal.pages import Pages
from moorage.hub.turns import finished
from moorage.wire.commands import Send
from tests.hub.fakes import HUB, RecordingOpening, RecordingPeer
from tests.hub.journal.loss import INSTANCE, Keeper, emit
from tests.hub.recovery.stage import ROOT


@pytest.fixture
def lost() -> Keeper:
    return Keeper()


@pytest.fixture
def heir() -> Keeper:
    return Keeper()


def test_packets_that_other_nodes_had_sent_to_the_lost_one(lost: Keeper, heir: Keeper) -> None:
    client, closed, left = lost.client(), lost.client(), lost.client()
    names = [each.connection.id for each in (client, closed, left)]
    heir.inherit(lost, settle=False)
    for name, payload in zip(names, (b'42["a",1]', b"1", b"41"), strict=True):
        heir.heirs.packet("lost", HUB, name, payload)
    heir.heirs.packet("another", HUB, names[0], b'42["a",2]')
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    assert heir.heirs.inherited == 1
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1]


def test_commands_that_other_nodes_had_sent_to_the_lost_one(lost: Keeper, heir: Keeper) -> None:
    client = lost.client()
    first, second = [Send(HUB, ROOT, b'42["a",%d]' % n, source="other", number=n) for n in (1, 2)]
    lost.world.execute(first)
    heir.inherit(lost, settle=False)
    for command in (first, second, second):
        heir.heirs.late("lost", HUB, command, "other")
    heir.heirs.late("lost", HUB, Send(HUB, ROOT, b'42["without an identity",3]'), "")
    heir.heirs.late("another", HUB, Send(HUB, ROOT, b'42["of another node",4]'), "")
    # This app server had a session at the lost node, so it hands its commands over itself.
    heir.heirs.late("lost", HUB, emit(ROOT, b'42["b",5]', 1), INSTANCE)
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1, 2, 3]


def asks(heir: Keeper, *nodes: str) -> list[str]:
    """Let these nodes be asked. Returns the lost nodes about which they are."""
    asked: list[str] = []

    def ask(node: str, heard: object) -> tuple[str, ...]:
        asked.append(node)
        return nodes

    heir.heirs.ask = ask
    return asked


@pytest.mark.parametrize("fault", ["incomplete", "gone", "silent", ""])
def test_other_nodes_tell_what_they_had_sent(lost: Keeper, heir: Keeper, fault: str) -> None:
    lost.client()
    asked = asks(heir, "x", "y")
    heir.inherit(lost)
    assert (asked, heir.heirs.waits("lost")) == (["lost"], True)
    heir.heirs.told("lost", "x", complete=fault != "incomplete")
    heir.heirs.told("lost", "stranger", complete=False)
    heir.heirs.told("other", "x", complete=False)
    assert heir.heirs.waits("lost")
    if fault == "gone":
        heir.heirs.gone("y")
    elif fault == "silent":
        heir.tick(HAND_OVER_SECONDS + 1)
    else:
        heir.heirs.told("lost", "y", complete=True)
    assert not heir.heirs.waits("lost")
    assert heir.heirs.inherited == (not fault)


def test_other_nodes_are_asked_when_the_app_servers_of_some_hubs_do_not_come(lost: Keeper) -> None:
    lost.client()
    heir = Keeper()
    recovery, heir.world.hub().recovery = heir.world.hub().recovery, None
    asked = asks(heir, "x")
    heir.heirs.expect("lost")
    finished(heir.heirs.read("lost", Pages(lost.pages)))
    assert not asked
    assert recovery is not None
    heir.world.hub().recovery = recovery
    heir.heirs.begun(heir.world.hub(), recovery)
    assert asked == ["lost"]
    heir.heirs.told("lost", "x", complete=True)
    heir.heirs.handed_over("lost", HUB, INSTANCE, lost.number)
    assert heir.heirs.inherited == 1


def test_other_nodes_are_asked_although_the_app_servers_of_one_hub_never_come(
    lost: Keeper, heir: Keeper
) -> None:
    lost.client()
    server, _ = lost.world.server("s2", "another", peer=RecordingPeer())
    server.instance = "other"
    hub, settings = lost.world.hub("another"), lost.world.node.hub_settings("another")
    lost.world.node.claims.turn_on(hub, server, lost.returns, 60.0, settings=settings, news=None)
    lost.world.enter(lost.world.open(RecordingOpening(), hub="another"))
    asked = asks(heir, "x")
    heir.inherit(lost)
    assert (asked, heir.heirs.waits("lost")) == ([], True), "the other hub may still come"
    heir.tick(RETURN_SECONDS + 1)
    assert (asked, heir.heirs.waits("lost")) == (["lost"], True)
    heir.tick(HAND_OVER_SECONDS - 1)
    heir.heirs.told("lost", "x", complete=True)
    assert not heir.heirs.waits("lost")
    assert heir.heirs.inherited == 1
