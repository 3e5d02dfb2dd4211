"""Which process of ours stands beside which of native's."""

from __future__ import annotations

from bench.figures import Rounds
from bench.sdk_measures import of_pair
from bench.servers import MOORAGE, NATIVE


def test_our_app_process_beside_native_whole_one() -> None:
    rounds = Rounds()
    rounds.add(f"{MOORAGE} orjson", {"app": 1.0, "service": 2.0})
    rounds.add(f"{NATIVE} orjson", {"service": 4.0})
    rounds.add(f"{NATIVE} json", {"service": 5.0})
    assert of_pair(rounds, "app", "service", "orjson") == {MOORAGE: [1.0], NATIVE: [4.0]}
    assert of_pair(rounds, "app", "service", "json") == {NATIVE: [5.0]}
