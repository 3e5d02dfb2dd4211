"""The C loop over a fleet: the same questions and the same checks as the one in Python."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.fastloop import fast_round_trips, publishes
from bench.frames import client_frame, server_frame
from tests.bench.peers import CLIENTS, Peers, echoes, served, until_closed


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_round_trips_of_one_client(cut: int, tmp_path: Path) -> None:
    with served(lambda peers: echoes(peers[0], cut=cut)) as fleet:
        done = fast_round_trips(fleet, 1, seconds=30, size=5, build=tmp_path, most=25)
        fleet.close()
    assert len(done.latencies) == 25
    assert list(done.latencies) == sorted(done.latencies)
    assert 0 < done.latencies[0] <= done.seconds * 1e9


def test_no_new_question_when_the_time_is_up(tmp_path: Path) -> None:
    with served(lambda peers: echoes(peers[0])) as fleet:
        done = fast_round_trips(fleet, 1, seconds=0, size=5, build=tmp_path)
        fleet.close()
    assert len(done.latencies) == 1


@pytest.mark.parametrize("answer", [b'4399["xxxxx"]', b'4310["xxxxx"]' + b"2"])
def test_a_wrong_ack_is_an_error(answer: bytes, tmp_path: Path) -> None:
    def handle(peers: Peers) -> None:
        peers[0].sendall(server_frame(answer))
        until_closed(peers)

    with served(handle) as fleet, pytest.raises(BenchError, match="wrong ack"):
        fast_round_trips(fleet, 1, seconds=1, size=5, build=tmp_path)


def test_a_lost_connection_is_an_error(tmp_path: Path) -> None:
    with served(lambda peers: None) as fleet, pytest.raises(BenchError, match="lost its connection"):
        fast_round_trips(fleet, 3, seconds=1, size=5, build=tmp_path)


def unmasked(frame: bytes) -> bytes:
    """The payload of a short client frame."""
    mask = frame[2:6]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(frame[6:]))


def test_publishes_are_timed_at_every_member(tmp_path: Path) -> None:
    def handle(peers: Peers) -> None:
        for number in range(4):
            ask = client_frame(b'42["publish","r%d","%019d"]' % (number % 2, 0))
            asker = peers[number % CLIENTS]
            _publish, _room, text = unmasked(asker.recv(len(ask), socket.MSG_WAITALL)).split(b",")
            for peer in peers:
                peer.sendall(server_frame(b'42["tick",' + text))
        until_closed(peers)

    with served(handle) as fleet:
        times = publishes(fleet, ["r0", "r1"], count=4, rate=1000, each=CLIENTS, build=tmp_path)
    assert len(times) == 4 * CLIENTS
    assert 0 < times[0] <= times[-1] < 10**10
