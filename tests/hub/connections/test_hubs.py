"""Which hubs exist, and their settings."""

from __future__ import annotations

import pytest

from moorage.hub.settings import HubSettings
from moorage.wire.commands import EVERYONE
from moorage.wire.errors import PeerError
from moorage.wire.reasons import APP_CLOSED, UNKNOWN_HUB
from tests.hub.fakes import RecordingOpening, World


def test_hub_names_ignore_case() -> None:
    world = World(hubs={"Listed": HubSettings(anonymous=False)})
    world.server(hub="MyHub")
    client = world.open(RecordingOpening(), hub="myhub")
    assert world.node.hub("MYHUB") is client.hub
    assert client.hub.name == "MyHub"
    assert world.emit(EVERYONE, b"42[]", hub="mYhUb").reached == 1
    assert not world.node.hub_settings("LISTED").anonymous


@pytest.mark.parametrize(
    "limits",
    [{"messages_per_client": 1.0}, {"messages_per_user": 1.0}, {"messages_per_address": 1.0}],
    ids=str,
)
def test_messages_are_counted_if_one_of_their_limits_is_set(limits: dict[str, float]) -> None:
    assert HubSettings(**limits).counts_messages  # type: ignore[arg-type]
    assert not HubSettings().counts_messages


def test_unlisted_hubs() -> None:
    world = World(hubs={"app": HubSettings(), "default": HubSettings(anonymous=False)})
    assert world.node.hub_settings("app").anonymous
    assert not world.node.hub_settings("elsewhere").anonymous
    world.node.configure({"app": HubSettings(anonymous=False)}, allow_unlisted_hubs=False)
    assert not world.node.hub_settings("App").anonymous
    for call in (world.node.hub_settings, world.node.ensure_hub):
        with pytest.raises(PeerError) as caught:
            call("elsewhere")
        assert caught.value.reason is UNKNOWN_HUB
    assert world.node.hubs == {}


def test_known_hubs_are_those_that_exist_or_are_listed() -> None:
    world = World(hubs={"Listed": HubSettings(), "app": HubSettings(), "default": HubSettings()})
    assert world.node.known_hubs() == ["app", "listed"]
    world.server(hub="App")
    world.server(hub="other")
    assert world.node.known_hubs() == ["App", "other", "listed"]


def test_a_hub_that_exists_gets_new_settings() -> None:
    world = World(hubs={"app": HubSettings(max_rooms=3)})
    world.server(hub="App")
    world.server(hub="other")
    assert [hub.settings.max_rooms for hub in world.node.hubs.values()] == [3, 0]
    world.node.configure({"default": HubSettings(max_rooms=5)}, allow_unlisted_hubs=True)
    assert [hub.settings.max_rooms for hub in world.node.hubs.values()] == [5, 5]


def test_an_answer_for_a_client_that_has_ended_makes_no_room() -> None:
    world = World()
    world.server()
    client = world.client("/")
    # The hub stays, because it has an app server.
    world.node.disconnect(client, APP_CLOSED, who="app")
    assert world.node.send(client, b'40{"sid":"late"}') is None
    assert len(world.hub().directory.rooms) == 0
