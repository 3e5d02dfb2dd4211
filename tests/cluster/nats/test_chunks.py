from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.cluster.nats.chunks import MAX_NAMES, BadFrame, Cutter, Joiner

LIMIT = 64


def cut(cutter: Cutter, message: bytes) -> list[bytes]:
    return [mark + chunk for mark, chunk in cutter.chunks(message, LIMIT)]


def joined(joiner: Joiner, frames: list[bytes]) -> list[bytes]:
    return [message for frame in frames if (message := joiner.message(frame)) is not None]


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=5))
def test_every_message_arrives_whole(messages: list[bytes]) -> None:
    cutter, joiner = Cutter("n0"), Joiner()
    frames = [frame for message in messages for frame in cut(cutter, message)]
    assert all(len(frame) <= LIMIT for frame in frames)
    assert joined(joiner, frames) == messages
    assert joiner.lost == 0


def test_chunks_of_several_senders_may_be_mixed() -> None:
    messages = {name: name.encode() * 100 for name in ("n0", "n1", "n2")}
    frames = [cut(Cutter(name), message) for name, message in messages.items()]
    mixed = [frame for several in zip(*frames, strict=True) for frame in several]
    assert joined(Joiner(), mixed) == list(messages.values())


@pytest.mark.parametrize("missing", [0, 2, -1])
def test_a_message_without_one_of_its_chunks_is_lost_alone(missing: int) -> None:
    cutter, joiner = Cutter("n0"), Joiner()
    frames = cut(cutter, b"a" * 200)
    del frames[missing]
    after = cut(cutter, b"b" * 200)
    assert joined(joiner, frames + after) == [b"b" * 200]


def test_a_broken_connection_ends_incomplete_messages() -> None:
    joiner = Joiner()
    frames = cut(Cutter("n0"), b"a" * 200)
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
    assert message is None or frame[0] == 1


def test_an_incomplete_message_of_a_dead_node_is_forgotten() -> None:
    joiner = Joiner()
    dead, slow = (cut(Cutter(name), b"a" * 200) for name in ("n0", "n1"))
    joined(joiner, [dead[0], slow[0]])
    joiner.forget_idle()
    joined(joiner, slow[1:2])
    joiner.forget_idle()
    assert joiner.lost == 1
    assert joined(joiner, dead[1:] + slow[2:]) == [b"a" * 200]


def test_chunks_without_content_take_bounded_memory() -> None:
    joiner = Joiner()
    empty = b"\x01\x10%16d\0\0\0\1\0\0\0\0\0\0\0\2"
    for number in range(3 * MAX_NAMES):
        joiner.message(empty % number)
    assert joiner.lost == 2 * MAX_NAMES
