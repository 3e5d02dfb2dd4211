"""Joining fragments: the rules of RFC 6455, 5.4, and the caps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows import WSFrame, WSMsgType
from picows.picows import _make_test_ws_frame

from moorage.edge.messages import MAX_FRAGMENTS, Assembler
from moorage.wire.errors import PeerError

TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION


def fragment(kind: WSMsgType, payload: bytes, fin: bool = False) -> WSFrame:
    """A frame as picows hands it over."""
    return _make_test_ws_frame(kind, payload, fin, False)


@given(st.sampled_from([TEXT, BINARY]), st.lists(st.binary(max_size=9), min_size=1, max_size=9))
def test_fragments_make_a_message(kind: WSMsgType, parts: list[bytes]) -> None:
    assembler = Assembler(1000)
    for _ in range(2):
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            found = assembler.add(fragment(CONTINUATION if index else kind, part, last))
            assert found == ((kind, b"".join(parts)) if last else None)


def refused(assembler: Assembler, frame: WSFrame) -> str:
    """The reason's name."""
    with pytest.raises(PeerError) as found:
        assembler.add(frame)
    return found.value.reason.name


def test_a_continuation_of_nothing() -> None:
    assert refused(Assembler(10), fragment(CONTINUATION, b"")) == "bad-frame"


@pytest.mark.parametrize("kind", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_message_inside_another(kind: WSMsgType, fin: bool) -> None:
    assembler = Assembler(10)
    assembler.add(fragment(TEXT, b"a"))
    assert refused(assembler, fragment(kind, b"b", fin)) == "bad-frame"


def test_the_sum_is_capped() -> None:
    assembler = Assembler(10)
    assembler.add(fragment(TEXT, b"12345"))
    assert assembler.add(fragment(CONTINUATION, b"67890", True)) == (TEXT, b"1234567890")
    assembler.add(fragment(TEXT, b"12345"))
    assert refused(assembler, fragment(CONTINUATION, b"678901", True)) == "payload-too-large"


def test_the_count_is_capped_even_where_nothing_is_in_them() -> None:
    assembler = Assembler(10)
    assembler.add(fragment(BINARY, b""))
    for _ in range(MAX_FRAGMENTS - 1):
        assembler.add(fragment(CONTINUATION, b""))
    assert refused(assembler, fragment(CONTINUATION, b"", True)) == "fragment-flood"
