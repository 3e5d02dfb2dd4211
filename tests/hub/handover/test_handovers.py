"""The moves of several hubs do not touch each other."""

from __future__ import annotations

from tests.hub.handover.moving import Moving, names


def test_the_loss_of_an_app_server_of_a_hub_without_moves_is_no_news() -> None:
    moving = Moving()
    moving.two.lose()
    assert moving.one.take() == []


def test_a_new_app_server_is_no_news_for_moves_that_do_not_wait_for_one() -> None:
    moving = Moving()
    moving.hand_over()
    moving.world.node.handovers.app_servers_changed()
    assert names(moving.one.take()) == ["freeze"]


def test_an_app_server_without_moves_of_a_known_hub_may_be_lost() -> None:
    moving = Moving()
    moving.freeze()
    moving.two.lose()
    assert names(moving.one.take()) == ["freeze", "resume"]
