"""The C loop over a fleet: the same questions and the same checks as the one in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.fastloop import fast_round_trips
from bench.frames import server_frame
from tests.bench.peers import Peers, echoes, served, until_closed


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
