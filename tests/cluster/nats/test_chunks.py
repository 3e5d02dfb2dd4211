from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.cluster.nats.chunks import BadFrame, Cutter, Joiner

LIMIT = 64


def joined(joiner: Joiner, frames: list[bytes]) -> list[bytes]:
    return [message for frame in frames if (message := joiner.message(frame)) is not None]


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_every_message_arrives_whole(messages: list[bytes]) -> None:
    cutter, joiner = Cutter("n0"), Joiner()
    frames = [frame for message in messages for frame in cutter.frames(message, LIMIT)]
    assert all(len(frame) <= LIMIT for frame in frames)
    assert joined(joiner, frames) == messages
    assert joiner.lost == 0


def test_chunks_of_several_senders_may_be_mixed() -> None:
    messages = {name: name.encode() * 100 for name in ("n0", "n1", "n2")}
    frames = [list(Cutter(name).frames(message, LIMIT)) for name, message in messages.items()]
    mixed = [frame for several in zip(*frames, strict=True) for frame in several]
    assert joined(Joiner(), mixed) == list(messages.values())


@pytest.mark.parametrize("missing", [0, 2, -1])
def test_a_message_without_one_of_its_chunks_is_lost_alone(missing: int) -> None:
    cutter, joiner = Cutter("n0"), Joiner()
    frames = list(cutter.frames(b"a" * 200, LIMIT))
    del frames[missing]
    after = list(cutter.frames(b"b" * 200, LIMIT))
    assert joined(joiner, frames + after) == [b"b" * 200]


def test_a_broken_connection_ends_incomplete_messages() -> None:
    joiner = Joiner()
    frames = list(Cutter("n0").frames(b"a" * 200, LIMIT))
    assert joined(joiner, frames[:2]) == []
    joiner.clear()
    assert joined(joiner, frames[2:]) == []
    assert joiner.lost == 1


@given(st.binary(max_size=80))
def test_garbage_is_refused(frame: bytes) -> None:
    try:
        message = Joiner().message(frame)
    except BadFrame:
        return
    assert message is None or message == frame[1:] or frame[0] == 1
