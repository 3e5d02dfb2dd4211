"""An app server that gives its clients away: its requests, and those that make no sense."""

from __future__ import annotations

import pytest

from moorage.edge.moorage.frames import handover
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Leaving
from tests.edge.moorage.rig import App
from tests.edge.moorage.turning import TurningRig


def test_a_second_request_fails_while_the_first_one_is_under_way() -> None:
    rig = TurningRig()
    one, _two = rig.app("one"), rig.app("two")
    one.client("/")
    one.say(v1.HandOver(1), v1.HandOver(2))
    (failed,) = one.heard(v1.Failed)
    assert (failed.ref, failed.reason) == (2, "link-bad-request")


def test_a_last_word_about_no_client_is_ignored() -> None:
    rig = TurningRig()
    one, two = rig.app("one"), rig.app("two")
    number, _ = one.client("/")
    for client in (0, number, number + 1):
        one.say(v1.State(client, (Leaving("/", "x", b"", 0),)))
    assert (one.heard(), two.heard()) == ([], [])


def test_an_app_server_says_no_last_word_about_the_client_of_another_one() -> None:
    rig = TurningRig()
    one, two = rig.app("one"), rig.app("two")
    number, _ = one.client("/")
    for server in rig.hub.servers.all():
        server.draining = False
    one.say(v1.HandOver(1))
    two.say(v1.State(number, ()))
    assert two.heard() == []
    one.say(v1.State(number, ()))
    (offer,) = two.heard()
    two.say(v1.State(offer.client, ()))
    assert two.heard() == []


def test_an_answer_does_not_name_any_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MAX_MISSING", 2)
    rig = TurningRig()
    one = rig.app("one")
    for _ in range(3):
        one.client("/")
    App(rig, "old").dial(revision=4)
    for server in rig.hub.servers.all():
        server.draining = False
    one.say(v1.HandOver(1))
    (done,) = one.heard(v1.Done)
    assert (done.count, len(done.missing)) == (0, 2)
