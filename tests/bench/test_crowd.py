"""Clients that come back when they are lost, and what they count meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench.cluster.crowd import Crowd, Report, ticks_of
from bench.fleet import Fleet
from bench.frames import tick_frame
from bench.servers import HOST, Address

CLIENTS = 4


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as made:
        yield made


def test_who_is_lost_returns_and_who_stays_counts_each_event(listener: socket.socket) -> None:
    address = Address(listener.getsockname()[1], "")
    with Fleet(address, source="127.0.1.9") as fleet:
        fleet.open(CLIENTS)
        peers = [listener.accept() for _ in range(CLIENTS)]
        assert {at[0] for _, at in peers} == {"127.0.1.9"}
        crowd = Crowd(fleet, [address])
        assert crowd.report(1) == Report(1, CLIENTS, 0, 0.0, {0: CLIENTS})
        peers[0][0].close()
        for peer, _ in peers[1:]:
            peer.sendall(tick_frame(100))
        while (report := crowd.report(2)).connected < CLIENTS or report.ticks != {1: CLIENTS - 1}:
            crowd.turn()
        assert report.lost == 1
        assert report.returned_at > 0
        listener.accept()[0].close()
        for peer, _ in peers[1:]:
            peer.close()


def test_a_port_that_refuses_is_left_for_the_next(listener: socket.socket) -> None:
    with socket.create_server((HOST, 0)) as closed:
        gone = Address(closed.getsockname()[1], "")
    address = Address(listener.getsockname()[1], "")
    with Fleet(address) as fleet:
        fleet.open(1)
        crowd = Crowd(fleet, [gone, address])
        listener.accept()[0].close()
        while crowd.report(1).returned_at == 0:
            crowd.turn()
        report = crowd.report(2)
        assert (report.connected, report.lost, report.ticks) == (1, 1, {})


def test_reports_are_added() -> None:
    reports = [Report(1, 3, 0, 0.0, {1: 2, 0: 1}), Report(1, 1, 0, 0.0, {1: 1})]
    assert ticks_of(reports) == {1: 3, 0: 1}
