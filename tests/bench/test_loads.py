"""Deliveries and round trips, counted against a small server of our own on loopback."""

from __future__ import annotations

import socket
from array import array

import pytest

from bench.errors import BenchError
from bench.frames import client_frame, server_frame, tick_frame
from bench.loads import Deliveries, enter, quantile, round_trips
from tests.bench.peers import Peers, echoes, served, until_closed


def test_deliveries_count_whole_and_cut_frames_and_answer_pings() -> None:
    data = tick_frame(100) * 2 + server_frame(b"2") + tick_frame(100)
    pongs: list[int] = []

    def handle(peers: Peers) -> None:
        for peer, cut in zip(peers, (0, 57, len(data) - 1), strict=True):
            peer.sendall(data[:cut])
            peer.sendall(data[cut:])
        pongs.extend(len(peer.recv(7)) for peer in peers)
        until_closed(peers)

    with served(handle) as fleet:
        latencies: array[int] = array("q")
        Deliveries(fleet, 100).wait(3, latencies)
        assert latencies
    assert pongs == [7, 7, 7]


def test_an_event_too_many_is_an_error() -> None:
    def handle(peers: Peers) -> None:
        for peer, times in zip(peers, (1, 2, 0), strict=True):
            peer.sendall(tick_frame(100) * times)
        until_closed(peers)

    with served(handle) as fleet, pytest.raises(BenchError):
        Deliveries(fleet, 100).wait(1)


def test_a_closed_connection_is_an_error() -> None:
    with served(lambda peers: None) as fleet, pytest.raises(BenchError):
        Deliveries(fleet, 100).wait(1)


def test_round_trips_ask_with_running_ack_ids() -> None:
    with served(lambda peers: echoes(peers[0])) as fleet:
        done = round_trips(fleet, 1, seconds=30, size=5, most=25)
        fleet.close()
    assert len(done.latencies) == 25
    assert done.per_second > 0
    assert done.quantile(0.0) <= done.quantile(0.99)


def test_a_wrong_ack_is_an_error() -> None:
    def handle(peers: Peers) -> None:
        peers[0].sendall(server_frame(b'4399["xxxxx"]'))
        until_closed(peers)

    with served(handle) as fleet, pytest.raises(BenchError):
        round_trips(fleet, 1, seconds=1, size=5)


def test_quantile() -> None:
    values = array("q", range(100))
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0)) == (50.0, 99.0, 99.0)


def test_all_clients_enter_a_room_or_none_of_them_goes_on() -> None:
    asked = len(client_frame(b'421["enter","r"]'))

    def handle(peers: Peers, answer: bytes = b"431[]") -> None:
        for peer in peers:
            assert len(peer.recv(asked, socket.MSG_WAITALL)) == asked
            peer.sendall(server_frame(answer))
        until_closed(peers)

    with served(handle) as fleet:
        enter(fleet, "r")
    with served(lambda peers: handle(peers, b'44{"message":"no"}')) as fleet, pytest.raises(BenchError):
        enter(fleet, "r")
